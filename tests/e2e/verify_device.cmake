# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One device against the CPU: every dispatch by `fathom verify`, then greedy tokens, each run giving the same text.
# cmake -DFATHOM=<program> -DARTIFACT=<file> -DDEVICE=vulkan:0 [-DTOKENS=64 [-DRUNS=2]] -P verify_device.cmake
execute_process(COMMAND ${FATHOM} verify ${ARTIFACT} --device=${DEVICE} --against=cpu --tokens 20 --steps 2
  --reproducer ${ARTIFACT}.reproducer RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "fathom verify: expected exit code 0, found ${result}")
endif()
if(NOT TOKENS)
  return()
endif()
set(runs cpu ${DEVICE})
if(RUNS EQUAL 2)
  list(APPEND runs ${DEVICE})
endif()
foreach(run ${runs})
  execute_process(COMMAND ${FATHOM} run -m ${ARTIFACT} --device=${run} -p "And it came to pass" -n ${TOKENS}
    --temp 0 -q OUTPUT_VARIABLE text RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "fathom run --device=${run}: expected exit code 0, found ${result}")
  endif()
  if(run STREQUAL cpu)
    set(expected "${text}")
  elseif(NOT text STREQUAL expected)
    message(FATAL_ERROR "${run}: expected\n${expected}\nfound\n${text}")
  endif()
endforeach()
