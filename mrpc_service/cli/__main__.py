from mrpc_service.cli import main

main()
