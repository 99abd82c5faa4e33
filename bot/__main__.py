"""python -m bot: hands over to the command line."""

from bot.cli.main import main

raise SystemExit(main())
