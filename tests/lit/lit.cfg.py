# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# lit: every .mlir below this folder is a test run through the built tools and FileCheck.
import os

import lit.formats

config.name = "fathom"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.fathom_build, "tests", "lit", "out")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.fathom_build, "bin"), config.llvm_tools, config.environment["PATH"]]
)
config.substitutions.append(("%fathom_source", config.fathom_source))
