// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Marks a hot function to be compiled once per vector width and chosen when the program starts.
#ifndef FATHOM_RUNTIME_BASE_MULTIVERSION_H_
#define FATHOM_RUNTIME_BASE_MULTIVERSION_H_

// The versions compute the same bits: files that use it are built with -ffp-contract=off, so that
// none of them fuses a multiplication with an addition. Sanitizers run before the loader has chosen a version,
// so builds with them keep the plain one.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FATHOM_MULTIVERSION __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FATHOM_MULTIVERSION
#endif

#endif  // FATHOM_RUNTIME_BASE_MULTIVERSION_H_
