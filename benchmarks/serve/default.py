"""The same application on Ray Serve as it comes: its default proxy and settings.

`python -m benchmarks.serve.default STATE PORT` serves a state folder that is ready.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    import ray
    from ray import serve

    from serve.app import BuildArguments, build

    state, port = sys.argv[1], int(sys.argv[2])
    # Without a dashboard, which would only add to what it costs.
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": port})
    serve.run(build(BuildArguments(state=state)), name="recsim")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
