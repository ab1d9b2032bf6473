r"""The agent: what runs on the device at the other end of `ssh`, for as long as the connection lives.

The protocol. `ssh HOST exec python3 -u -c BOOTSTRAP` prints `edgexfer-agent VERSION-OF-PYTHON`, then takes this package
as source (`LENGTH\n`, then the bytes) and runs it. From then on both sides send frames (edgexfer/remote/wire.py).
It greets with {"is": "hello", ...facts}. A request is {"do": NAME, ...}: `have`, `file` + `part`s + `stored`, `python`,
`bundle`, `data`, `run`, `trim` (each specified where main.py handles it), answered by {"is": "done", ...} or by
{"is": "error", "message", "hint"}; in between come {"is": "news"}, {"is": "line"} and {"is": "result"}. {"do": "beat"}
every few seconds keeps it alive: at the end of its input, or after `silence_s` without a byte, it kills what it started
and goes.

Its home is `~/.cache/edgexfer/on/` (below XDG_CACHE_HOME where that is set):

    files/SHA256          what was sent, by content; whole or absent
    python/SHA256/        edgexfer itself, the unpacked wheel
    deps/KEY/             packages that the device's Python lacks
    bundles/DIGEST/NAME/  hard links to files/, and the engines built there
    data/DIGEST/          images.csv and hard links to files/
    busy                  locked by the agent whose verb runs: one at a time, or they would measure each other
    runs/ID/              all that is unfinished, and the run's working folder; locked as long as its agent lives,
                          and swept by the next one

Everything else appears there by a rename out of `runs/ID/`, so that nothing half-made is ever found. Standard library
alone; sent as source, so no module here reads another file of the package.
"""
