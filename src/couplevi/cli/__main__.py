import sys

from couplevi.cli import main

sys.exit(main())
