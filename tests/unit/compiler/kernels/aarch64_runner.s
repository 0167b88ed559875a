// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs one dispatch of AArch64 kernel code under an emulator.
//
// Reads a job from standard input to a fixed address, calls the kernel for every workgroup, writes
// the job's memory to standard output.
//
// The job (kernel_harness.cpp, struct Job) lies at 0x1000000000:
//   0 u64 code, 8 u64 args, 16 u64 first byte to write, 24 u64 bytes to write,
//   32 u64 x, 40 u64 y, 48 u64 z
        .text
        .globl _start
_start:
        mov     x19, #0x1000000000
        mov     x0, x19                 // mmap(base, 256 MiB, RWX, PRIVATE|FIXED|ANONYMOUS, -1, 0)
        mov     x1, #0x10000000
        mov     x2, #7
        mov     x3, #0x32
        mov     x4, #-1
        mov     x5, #0
        mov     x8, #222
        svc     #0
        cmp     x0, x19
        b.ne    fail
        mov     x20, x19
read:   mov     x0, #0                  // read(0, x20, 1 MiB) until the end
        mov     x1, x20
        mov     x2, #0x100000
        mov     x8, #63
        svc     #0
        cmp     x0, #0
        b.lt    fail
        add     x20, x20, x0
        b.ne    read

        ldr     x26, [x19, #48]         // workgroups, the last first
loopz:  cbz     x26, done
        sub     x26, x26, #1
        ldr     x25, [x19, #40]
loopy:  cbz     x25, loopz
        sub     x25, x25, #1
        ldr     x24, [x19, #32]
loopx:  cbz     x24, loopy
        sub     x24, x24, #1
        ldr     x0, [x19, #8]
        mov     x1, x24
        mov     x2, x25
        mov     x3, x26
        ldr     x9, [x19]
        blr     x9
        b       loopx

done:   ldr     x20, [x19, #16]
        ldr     x21, [x19, #24]
write:  cbz     x21, finish
        mov     x0, #1
        mov     x1, x20
        mov     x2, x21
        mov     x8, #64
        svc     #0
        cmp     x0, #0
        b.le    fail
        add     x20, x20, x0
        sub     x21, x21, x0
        b       write
finish: mov     x0, #0
        b       exit
fail:   mov     x0, #1
exit:   mov     x8, #93
        svc     #0
