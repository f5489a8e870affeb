mrpc_fuzz(vectordb_image vectordb_image.cpp curator)
