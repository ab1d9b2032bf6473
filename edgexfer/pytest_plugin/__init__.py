"""The pytest plugin: a bundle's limits as tests. See edgexfer/pytest_plugin/plugin.py."""
