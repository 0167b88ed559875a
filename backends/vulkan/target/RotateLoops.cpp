// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// scf.for to scf.while with the test behind the body.
#include "backends/vulkan/target/RotateLoops.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace fathom::vulkan {
namespace {

// lo < hi, both known.
bool runsAtLeastOnce(scf::ForOp loop) {
  APInt lo, hi;
  return matchPattern(loop.getLowerBound(), m_ConstantInt(&lo)) &&
         matchPattern(loop.getUpperBound(), m_ConstantInt(&hi)) && lo.slt(hi);
}

// The loop, where it is known to run at least once: what it carries in the end.
SmallVector<Value> emitWhile(OpBuilder& builder, scf::ForOp loop) {
  Location loc = loop.getLoc();
  SmallVector<Value> start = {loop.getLowerBound()};
  llvm::append_range(start, loop.getInitArgs());
  SmallVector<Type> types = llvm::map_to_vector(start, [](Value v) { return v.getType(); });
  auto rotated = scf::WhileOp::create(builder, loc, types, start);
  SmallVector<Location> locs(types.size(), loc);
  Block* body = builder.createBlock(&rotated.getBefore(), {}, types, locs);
  Block* again = builder.createBlock(&rotated.getAfter(), {}, types, locs);
  scf::YieldOp::create(builder, loc, again->getArguments());

  Operation* end = loop.getBody()->getTerminator();
  builder.setInsertionPoint(end);
  Value next = arith::AddIOp::create(builder, loc, loop.getInductionVar(), loop.getStep());
  Value more = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, next,
                                     loop.getUpperBound());
  SmallVector<Value> carried = {next};
  llvm::append_range(carried, end->getOperands());
  scf::ConditionOp::create(builder, loc, more, carried);
  end->erase();
  for (auto [before, after] : llvm::zip(loop.getBody()->getArguments(), body->getArguments()))
    before.replaceAllUsesWith(after);
  body->getOperations().splice(body->end(), loop.getBody()->getOperations());
  builder.setInsertionPointAfter(rotated);
  return llvm::to_vector_of<Value>(llvm::drop_begin(rotated.getResults()));
}

void rotate(scf::ForOp loop) {
  OpBuilder builder(loop);
  Location loc = loop.getLoc();
  SmallVector<Value> results;
  if (runsAtLeastOnce(loop)) {
    results = emitWhile(builder, loop);
  } else {
    Value some = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt,
                                       loop.getLowerBound(), loop.getUpperBound());
    auto guarded = scf::IfOp::create(
        builder, loc, some,
        [&](OpBuilder& then, Location) {
          SmallVector<Value> inner = emitWhile(then, loop);
          scf::YieldOp::create(then, loc, inner);
        },
        [&](OpBuilder& otherwise, Location) {
          scf::YieldOp::create(otherwise, loc, loop.getInitArgs());
        });
    results = llvm::to_vector_of<Value>(guarded.getResults());
  }
  loop.replaceAllUsesWith(results);
  loop.erase();
}

struct RotateLoops : PassWrapper<RotateLoops, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RotateLoops)

  void getDependentDialects(DialectRegistry& registry) const override {
    registry.insert<arith::ArithDialect, scf::SCFDialect>();
  }
  void runOnOperation() override {
    SmallVector<scf::ForOp> loops;
    getOperation()->walk([&](scf::ForOp loop) { loops.push_back(loop); });
    for (scf::ForOp loop : loops) rotate(loop);
  }
};

// The serialiser writes a block's structured ops as blocks of their own: what merges must stand in
// one without such ops, and so must a branch whose target has arguments.
struct SplitLoopBodies : PassWrapper<SplitLoopBodies, OperationPass<>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SplitLoopBodies)

  void runOnOperation() override {
    getOperation()->walk([&](spirv::LoopOp loop) {
      Block* header = loop.getHeaderBlock();
      auto branchTo = [&](Block* from, Block* to) {
        OpBuilder builder = OpBuilder::atBlockEnd(from);
        spirv::BranchOp::create(builder, loop.getLoc(), to);
      };
      Block* body = header->splitBlock(header->begin());
      branchTo(header, body);
      Block* end = body->splitBlock(body->getTerminator());
      branchTo(body, end);
    });
  }
};

}  // namespace

std::unique_ptr<Pass> createRotateLoopsPass() { return std::make_unique<RotateLoops>(); }
std::unique_ptr<Pass> createSplitLoopBodiesPass() { return std::make_unique<SplitLoopBodies>(); }

}  // namespace fathom::vulkan
