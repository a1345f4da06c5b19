import subprocess
import sys
from pathlib import Path

import pytest

from algorithms.config import RunConfig, load_config, parse
from algorithms.layers import ConfigError


def refused(*overrides: str, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config("slateq", file, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "my.yaml"
    path.write_text(text)
    return path


def test_a_file_is_laid_over_the_defaults_and_overrides_over_that(tmp_path: Path) -> None:
    file = written(tmp_path, "train: {users: 64, fragment: 16}\nslateq: {lr: 1e-3}\n")
    config = load_config("slateq", file, ["train.users=32"], {"seed": 7, "workers": None})
    assert (config.train.users, config.train.fragment) == (32, 16)
    assert config.settings["lr"] == 0.001
    assert (config.seed, config.workers) == (7, 0)
    assert config.env.arguments["num_candidates"] == 10


def test_the_schedule_ends_with_the_budget_unless_it_is_given() -> None:
    assert (
        load_config("slateq", None, ["train.env_steps=1e5"]).settings["schedule_steps"] == 100_000
    )
    given = load_config("slateq", None, ["slateq.schedule_steps=7"])
    assert given.settings["schedule_steps"] == 7


def test_plain_data_and_back() -> None:
    terms = "history=[{what: click, keep: sum}, {what: item, keep: 0.7, scale: 2}]"
    config = load_config("slateq", None, [terms, "workers=2"])
    assert parse([("there", config.to_plain())]) == config


def test_another_world_drops_the_arguments_of_the_default_one() -> None:
    config = load_config("slateq", None, ["env.name=long_term_satisfaction", "env.slate_size=2"])
    assert config.env.arguments == {"slate_size": 2}


def test_the_world_is_what_simulators_are_made_of() -> None:
    config = load_config("slateq", None, ["history=[{what: click}]"])
    assert config.world == {
        "name": "interest_evolution",
        "backend": "torch",
        "device": "cpu",
        "num_candidates": 10,
        "slate_size": 3,
        "choice_model": "multinomial_proportional",
        "history": [{"what": "click", "keep": "sum", "scale": 1.0}],
    }


def test_users_are_shared_by_the_workers() -> None:
    assert load_config("slateq", None, ["workers=2", "train.users=256"]).users_per_runner == 128
    assert load_config("slateq", None, ["train.users=256"]).users_per_runner == 256
    assert "3 workers cannot share equally" in refused("workers=3")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.users=3", "unknown key 'trian'; did you mean 'train'?"),
        ("train.usrs=3", "unknown key 'train.usrs'; did you mean 'users'?"),
        ("env.num_candidate=3", "unknown key 'env.num_candidate'; did you mean 'num_candidates'?"),
        ("slateq.lrr=1", "unknown key 'slateq.lrr'; did you mean 'lr'?"),
        ("history=[{what: click, kep: 1}]", "unknown key 'history.0.kep'; did you mean 'keep'?"),
        ("env.name=interest_evolutoin", "did you mean 'interest_evolution'?"),
        ("env.backend=googl", "env.backend is googl; it must be 'torch' or 'google'"),
        ("env.num_candidates=ten", "env.num_candidates is ten; it must be a valid integer"),
        ("env.show_quality=1", "env.show_quality is 1; it must be a valid boolean"),
        ("train.users=true", "train.users is true"),
        ("train.users=1.5", "train.users is 1.5"),
        ("slateq.lr=fast", "slateq.lr is fast; it must be a valid number"),
        ("slateq.lr=-1", "slateq.lr is -1; it must be greater than 0"),
        ("train.users=0", "train.users is 0; it must be greater than or equal to 1"),
        ("train.env_steps=-5", "train.env_steps is -5"),
        ("env.num_candidates=0", "num_candidates is 0; it must be at least 1"),
        ("env.slate_size=20", "slate_size is 20, but only 10 candidates are offered"),
        ("history=[{what: clck}]", "names 'clck', which is none of"),
        ("train=3", "train is 3; it must be an object"),
        ("train.users", "write it as key=value"),
        ("slateq.lr=[", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_with_its_origin(override: str, message: str) -> None:
    found = refused(override)
    assert message in found
    assert found.startswith(f"--set {override}: ")


@pytest.mark.parametrize(
    "key",
    [
        *("dqn.hidden", "dqn.item_hidden", "dqn.slate_hidden", "slateq.hidden"),
        *("ppo.hidden", "ppo.item_hidden", "neural_linear.hidden"),
    ],
)
@pytest.mark.parametrize("width", [0, -3])
def test_a_layer_has_at_least_one_unit(key: str, width: int) -> None:
    override = f"{key}=[8, {width}]"
    with pytest.raises(ConfigError) as caught:
        load_config(key.partition(".")[0], None, [override])
    wanted = f"--set {override}: {key}.1 is {width}; it must be greater than or equal to 1"
    assert str(caught.value) == wanted


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "train:\n  user: 3\n")
    assert refused(file=file) == f"{file}: unknown key 'train.user'; did you mean 'users'?"


def test_duplicate_keys_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "seed: 1\ntrain: {users: 3}\nseed: 2\n")
    assert refused(file=file) == f"{file}, line 3: the key 'seed' stands there twice; remove one"


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "cannot read the config" in refused(file=tmp_path / "absent.yaml")
    assert "it must hold keys and values" in refused(file=written(tmp_path, "- 1\n- 2\n"))


def test_a_config_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    assert "the command says 'slateq'" in refused(file=written(tmp_path, "algorithm: other\n"))


@pytest.mark.parametrize(
    ("name", "overrides", "blamed"),
    [
        ("linucb", ["linucb.context=[nothing]"], [0]),
        ("ucb1", ["ucb1.arm_feature=nothing"], [0]),
        ("ucb1", ["ucb1.arm_feature=nothing", "train.users=8"], [0]),
        ("dqn", ["dqn.actions=items", "env.slate_size=2"], [1, 0]),
        ("ucb1", ["ucb1.arm_feature=nothing", "env.backend=torch"], [1, 0]),
        # Torch, which has no memory for it, names no key, but nothing else was changed.
        ("ppo", ["ppo.hidden=[1_000_000_000_000_000]"], [0]),
        # The world by itself cannot be, whatever the settings are.
        ("dqn", ["dqn.lr=1e-3", "env.slate_size=20"], [1]),
    ],
)
def test_what_the_agent_refuses_is_blamed_on_the_world_and_its_settings(
    name: str, overrides: list[str], blamed: list[int]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(name, None, overrides)
    found = str(caught.value).partition(": ")[0]
    assert found == ", ".join(f"--set {overrides[at]}" for at in blamed)


def test_an_unknown_algorithm_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'slateq'"):
        load_config("slateqq")


def test_checking_a_config_does_not_import_ray() -> None:
    code = (
        "import sys; from algorithms.config import load_config; load_config('slateq');"
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_configs_cannot_be_changed() -> None:
    config: RunConfig = load_config("slateq")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]


def test_keys_that_do_not_go_together() -> None:
    message = refused("slateq.choice_model=exponential_cascade", "slateq.act_optimiser=top_k")
    assert message.endswith(
        ": the slate optimiser 'top_k' is defined for multinomial choice models, "
        "not for exponential_cascade; use 'exact'"
    )
    assert "is a dict" not in message


@pytest.mark.parametrize("key", ["seed", "evaluate.seed"])
def test_seeds_are_what_generators_take(key: str) -> None:
    assert load_config("slateq", None, [f"{key}={2**63 - 1}"])
    for wrong in (2**63, -1):
        with pytest.raises(ConfigError, match=f"{key} is {wrong}; it must be"):
            load_config("slateq", None, [f"{key}={wrong}"])
