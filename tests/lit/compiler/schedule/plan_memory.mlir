// RUN: fathom-opt %s --pass-pipeline="builtin.module(schedule.program(schedule.entry(fathom-plan-memory)))" | FileCheck %s

// a and c are never alive together and share a place; d grows with R and has its own.
// CHECK: schedule.entry @decode arena(T * 768 + R * 1024 + 64)
// CHECK: schedule.buffer "a" transient size(T * 256) offset(0)
// CHECK: schedule.buffer "b" transient size(T * 512) offset(T * 256 + 64)
// CHECK: schedule.buffer "c" transient size(T * 256 + 40) offset(0)
// CHECK: schedule.buffer "d" transient size(R * 1024) offset(T * 768 + 64)
schedule.program @p target("null") driver("null") features([]) {
  schedule.kernel @k family("add") config({}) bindings(2) push(0)
  schedule.entry @decode {
    %in = schedule.buffer "tokens" input size(T * 4)
    %a = schedule.buffer "a" transient size(T * 256)
    %b = schedule.buffer "b" transient size(T * 512)
    %c = schedule.buffer "c" transient size(T * 256 + 40)
    %d = schedule.buffer "d" transient size(R * 1024)
    schedule.dispatch @k grid(T, 1, 1) (%in, %a) push() label ""
    schedule.barrier
    schedule.dispatch @k grid(T, 1, 1) (%a, %b) push() label ""
    schedule.barrier
    schedule.dispatch @k grid(T, 1, 1) (%b, %c) push() label ""
    schedule.barrier
    schedule.dispatch @k grid(T, 1, 1) (%c, %d) push() label ""
  }
}

// What a target binds at multiples of 256 bytes begins there, for every value of the symbols.
// CHECK: schedule.program @gpu
// CHECK: schedule.entry @decode arena(T * 512 + 256)
// CHECK: schedule.buffer "a" transient size(T * 64) offset(0)
// CHECK: schedule.buffer "b" transient size(T * 200 + 8) offset(T * 256)
schedule.program @gpu target("null") driver("null") features([]) attributes {schedule.alignment = 256 : i64} {
  schedule.kernel @k family("add") config({}) bindings(2) push(0)
  schedule.entry @decode {
    %a = schedule.buffer "a" transient size(T * 64)
    %b = schedule.buffer "b" transient size(T * 200 + 8)
    schedule.dispatch @k grid(T, 1, 1) (%a, %b) push() label ""
  }
}
