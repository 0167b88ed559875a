// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parsed template: expressions and statements, each with its line.
#ifndef FATHOM_RUNTIME_TEXT_JINJA_AST_H_
#define FATHOM_RUNTIME_TEXT_JINJA_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/jinja_value.h"

namespace fathom::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kLiteral,    // value
    kName,       // name
    kAttribute,  // children[0] . name
    kItem,       // children[0] [ children[1] ]
    kSlice,      // children[0] [ children[1] : children[2] : children[3] ], each of the last may be
                 // null
    kCall,       // children[0] ( children[1..], named )
    kFilter,     // children[0] | name ( children[1..], named ); children[0] null in a filter block
    kTest,       // children[0] is name ( children[1..] )
    kNot,        // not children[0]
    kNegate,     // - children[0]
    kBinary,     // children[0] name children[1]: + - * / // % ** ~
    kCompare,    // children[0] names[0] children[1] names[1] children[2] ...
    kAnd,        // children[0] and children[1]
    kOr,         // children[0] or children[1]
    kConditional,  // children[0] if children[1] else children[2], the last may be null
    kList,         // [children]
    kTuple,        // (children)
    kDict,         // {children[0]: children[1], children[2]: children[3] ...}
  };
  Kind kind;
  int line = 0;
  int depth = 1;  // of the tree below, so that evaluation needs bounded stack
  Value value;
  std::string name;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> children;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct MacroStatement {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with default or null
  Block body;
};

struct Statement {
  enum class Kind {
    kText,      // text
    kPrint,     // expression
    kFor,       // for targets in expression if condition: body, else other
    kIf,        // if expression: body, else other (an elif is an if in `other`)
    kSet,       // set targets = expression
    kSetBlock,  // set targets[0] | filters: body
    kMacro,     // macro
    kFilter,    // filter `expression` (a chain over its body): body
    kScope,     // body, as of a {% generation %} or {% with %} block; with: assigned
    kBreak,
    kContinue,
  };
  // A target of for and set: a name, or a name and an attribute of the namespace it holds.
  struct Target {
    std::string name;
    std::string attribute;
  };
  Kind kind;
  int line = 0;
  Value text;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Target> targets;
  std::vector<std::pair<std::string, ExpressionPtr>> assigned;
  bool uses_loop = false;  // for: the variable `loop` stands in the body
  Block body;
  Block other;
  std::unique_ptr<MacroStatement> macro;
};

}  // namespace fathom::text::jinja

#endif  // FATHOM_RUNTIME_TEXT_JINJA_AST_H_
