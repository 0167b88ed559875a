// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// All ops of the graph dialect, gathered for tablegen.
#ifndef FATHOM_DIALECTS_GRAPH_GRAPHOPS_TD
#define FATHOM_DIALECTS_GRAPH_GRAPHOPS_TD

include "dialects/graph/WeightOps.td"
include "dialects/graph/DenseOps.td"
include "dialects/graph/AttentionOps.td"
include "dialects/graph/RoutingOps.td"

#endif // FATHOM_DIALECTS_GRAPH_GRAPHOPS_TD
