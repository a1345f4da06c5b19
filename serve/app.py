"""The endpoint as a Ray Serve application: policy and ingress in one replica.

`serve run serve.app:build policy=RUN` or a Serve config file deploy it; our own
command, `python -m serve.run`, also sets what makes it fast and keeps it local.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig
from ray.serve.schema import LoggingConfig

from algorithms.layers import ConfigError, validated
from serve.cluster import LOOPBACK
from serve.metrics import make_metrics
from serve.replica import API_KEY, Replica, api_key
from serve.scaling import IN_FLIGHT, KeepInFlight
from serve.settings import Settings, load_settings
from serve.state import asked_for, configure

NAME = "recsim"
_INTERVAL = 5.0
"""Seconds between two looks at the load; replicas are added after two that find much."""


class BuildArguments(BaseModel):
    """What `serve run serve.app:build KEY=VALUE ...` takes.

    Attributes:
        policy: a run folder, a policy folder or a baseline; the config's arms, or what is
            live in the state folder, if not given. The same again, as when a Serve config
            is applied once more, leaves alone what has been deployed since.
        state: folder of the endpoint.
        config: a YAML file of settings.
    """

    model_config = ConfigDict(extra="forbid")

    policy: str | None = None
    state: str = "serving"
    config: str | None = None


@serve.deployment(name="endpoint")
@serve.ingress()
class Endpoint:
    """A replica of the endpoint."""

    def __init__(self, state: str, settings: dict[str, Any], keyed: bool, local: bool) -> None:
        """Load the policies of a state folder.

        Args:
            state: the folder.
            settings: as plain data.
            keyed: whether clients must send an API key, where the application was built.
            local: whether this machine alone is to reach this process.

        Raises:
            ConfigError: the key is not known here; nobody is to be let in without it.
        """
        if local:
            stay_local()
        torch.set_num_threads(1)
        found = Settings(**settings)
        check_key(found, keyed)
        self._replica = Replica(Path(state), found, make_metrics())

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Ray Serve asks for to decide how many replicas there are."""
        return {IN_FLIGHT: self._replica.places.mean()}

    def __serve_build_asgi_app__(self) -> Any:
        """What Ray Serve sends requests to."""
        return self._replica.app()


def build(given: Mapping[str, Any] | BuildArguments) -> Application:
    """The application, as Ray Serve's command and config files build it.

    Args:
        given: what `BuildArguments` says; Ray hands on plain words.

    Raises:
        ValueError: an argument, the config or the policy cannot be used.
    """
    if isinstance(given, BuildArguments):
        arguments = given
    else:
        layers = [("the arguments", dict(given))]
        arguments = validated(layers, (), BuildArguments, dict(given))
    state, settings = Path(arguments.state).resolve(), load_settings(arguments.config)
    arms = asked_for(settings, arguments.policy)
    if arms:
        configure(state, arms)
    return application(state, settings)


def check_key(settings: Settings, keyed: bool) -> None:
    """Refuse to serve without the API key that the application was built with.

    Raises:
        ConfigError: there is none in this process.
    """
    if keyed and api_key(settings) is None:
        raise ConfigError(
            f"{API_KEY} is not set on this node; set it in the runtime_env's env_vars, or give "
            "api_key_file"
        )


def stay_local() -> None:
    """Keep the replica's port for other deployments, of which there are none, on loopback.

    Ray Serve has no setting for it and binds all interfaces; where a later version does
    otherwise, nothing happens here, and the test of all ports says whether that is right.
    """
    from ray.serve._private import replica

    bind = getattr(replica, "add_port_to_grpc_server", None)
    if bind is not None:

        def bind_local(server: Any, address: str) -> Any:
            return bind(server, address.replace("[::]", LOOPBACK))

        replica.add_port_to_grpc_server = bind_local


def application(state: Path, settings: Settings, *, local: bool = False) -> Application:
    """The application of a state folder that is ready; `local` as in `Endpoint`."""
    replicas, limits = settings.replicas, settings.limits
    size: dict[str, Any] = {"num_replicas": replicas.number}
    if replicas.most is not None:
        size = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=replicas.number,
                max_replicas=replicas.most,
                policy=AutoscalingPolicy(
                    policy_function=KeepInFlight,
                    policy_kwargs={"target": replicas.target_requests},
                ),
                metrics_interval_s=_INTERVAL,
                look_back_period_s=2 * _INTERVAL,
                upscale_delay_s=2 * _INTERVAL,
            )
        }
    deployment: Any = Endpoint
    made: Application = deployment.options(
        **size,
        # The replica counts for itself, and says so in JSON; Ray's limit stands behind it.
        max_ongoing_requests=2 * limits.max_in_flight,
        max_queued_requests=replicas.max_queued,
        backpressure_config=BackpressureConfig(retry_after_s=limits.retry_after),
        ray_actor_options={"num_cpus": replicas.cpus},
        logging_config=LoggingConfig(enable_access_log=False),
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=5.0,
    ).bind(str(state), settings.model_dump(), api_key(settings) is not None, local)
    return made
