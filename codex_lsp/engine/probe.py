"""What this machine's llama.cpp is and can do, asked in a process of its own so that nobody else loads it."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Probe:
    """The build of llama.cpp; `error` says why it does not load, and then the rest is empty."""

    version: str = ""
    system_info: str = ""
    gpu_usable: bool = False
    error: str = ""


def probe() -> Probe:
    """Ask llama.cpp in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "codex_lsp.engine.probe"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Probe(**json.loads(done.stdout.splitlines()[-1]))
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return Probe(error=f"llama-cpp-python does not load ({type(error).__name__}); install it again.")


def main() -> None:
    """Print what llama.cpp says of itself as JSON."""
    try:
        from codex_lsp.engine import model
    except (ImportError, OSError, RuntimeError) as error:
        answer = Probe(error=f"llama-cpp-python does not load: {error}. Install it again.")
    else:
        answer = model.probe()
    sys.stdout.write(json.dumps(asdict(answer)) + "\n")


if __name__ == "__main__":
    main()
