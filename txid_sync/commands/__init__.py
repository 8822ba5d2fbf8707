"""The commands of the command line, one file each; every file has its `command`."""
