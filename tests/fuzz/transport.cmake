mrpc_fuzz(transport_frame ${CMAKE_CURRENT_SOURCE_DIR}/transport_frame.cpp mrpc_transport)
