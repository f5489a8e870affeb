from mrpc_service.cli.main import main

main()
