"""`python -m edgexfer` is `edgexfer`."""

from edgexfer.cli.main import main

main()
