import sys

from protoc_gen_mrpc import main

sys.exit(main())
