# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Clones the null backend as docs/howto/add-a-target.md says, and builds the runtime's drivers with the clone.
# cmake -DSOURCE=<repository> -DOUT=<scratch folder> -P clone_backend.cmake
file(REMOVE_RECURSE ${OUT}/tree)
file(MAKE_DIRECTORY ${OUT}/tree/backends)
foreach(entry CMakeLists.txt CMakePresets.json runtime frontend models dialects compiler tests)
  file(CREATE_LINK ${SOURCE}/${entry} ${OUT}/tree/${entry} SYMBOLIC)
endforeach()
file(COPY ${SOURCE}/backends/CMakeLists.txt DESTINATION ${OUT}/tree/backends)

# Steps 1 to 3, the driver's side.
file(MAKE_DIRECTORY ${OUT}/tree/backends/clone/driver)
foreach(file CMakeLists.txt null_device.cc)
  file(READ ${SOURCE}/backends/null/driver/${file} text)
  string(REPLACE "fathom::null" "fathom::clone" text "${text}")
  string(REPLACE "\"null\"" "\"clone\"" text "${text}")
  string(REPLACE "\"null:0\"" "\"clone:0\"" text "${text}")
  string(REPLACE "null_d" "clone_d" text "${text}")
  string(REPLACE "null_device" "clone_device" name "${file}")
  file(WRITE ${OUT}/tree/backends/clone/driver/${name} "${text}")
endforeach()

# Step 4.
execute_process(COMMAND ${CMAKE_COMMAND} -G Ninja -S ${OUT}/tree -B ${OUT}/build
  -DFATHOM_BUILD_COMPILER=OFF -DFATHOM_BUILD_TESTS=OFF -DFATHOM_BACKENDS=clone
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${OUT}/build --target fathom_drivers fathom_clone_driver
  COMMAND_ERROR_IS_FATAL ANY)
file(READ ${OUT}/build/runtime/hal/drivers.cc drivers)
if(NOT drivers MATCHES "clone::CreateDriver")
  message(FATAL_ERROR "the clone is not among the drivers:\n${drivers}")
endif()
