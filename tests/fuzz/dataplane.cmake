mrpc_fuzz(dataplane_hello ${CMAKE_CURRENT_LIST_DIR}/dataplane_hello.cpp mrpc_dataplane)
mrpc_fuzz(dataplane_takeover ${CMAKE_CURRENT_LIST_DIR}/dataplane_takeover.cpp mrpc_dataplane)
mrpc_fuzz(dataplane_slots ${CMAKE_CURRENT_LIST_DIR}/dataplane_slots.cpp mrpc_dataplane)
target_include_directories(dataplane_slots PRIVATE ${CMAKE_SOURCE_DIR}/tests/native)
