# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The checks themselves: each must find a fault put in front of it and leave good input alone.
import check_includes
import check_layout
import check_passes

GOOD_HEADER = "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n"
assert check_includes.violations("runtime/hal/a.cc", '#include "runtime/base/status.h"\n') == []
assert check_includes.violations("runtime/hal/a.cc", '#include "runtime/exec/program.h"\n')
assert check_includes.violations("runtime/exec/a.cc", '#include <mlir/IR/Value.h>\n')
assert check_includes.violations("backends/cpu/driver/a.cc", '#include "backends/cpu/target/CPU.h"\n')
assert check_includes.violations("compiler/fuse/A.cpp", '#include "compiler/lower/Lower.h"\n')
assert check_includes.violations("models/reference/a.cc", '#include "frontend/config/config.h"\n')
assert check_layout.path_violations("compiler/a/b.cc") == []
assert check_layout.path_violations("library/a.cc")
assert check_layout.path_violations("compiler/a/b/c/d/e/f.cc")
assert check_layout.path_violations("compiler/" + "x" * 80 + ".cc")
assert check_layout.text_violations("a.cc", GOOD_HEADER) == []
assert check_layout.text_violations("a.cc", "int x;\n")
assert check_layout.text_violations("a.cc", GOOD_HEADER + "\n" * 900)
assert check_layout.text_violations("a.cc", GOOD_HEADER + '"/ro' + 'ot/x"\n')
PASS = 'def FooBarPass : Pass<"fathom-foo-bar", "X"> {\n  let description = [{\n```mlir\n```\n  }];\n}\n'
assert check_passes.violations("compiler/fuse/Passes.td", PASS, lambda p: True) == []
assert len(check_passes.violations("compiler/fuse/Passes.td", PASS, lambda p: False)) == 2
assert check_passes.violations("compiler/fuse/Passes.td", PASS.replace("foo-bar", "foobar"), lambda p: True)
print("checks: all faults found")
