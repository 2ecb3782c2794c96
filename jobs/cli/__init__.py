"""The command `rodin`, one file a group of commands. Only this package prints."""
