// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recursive descent over Jinja's grammar, with its precedences.
#include "runtime/text/jinja_parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/text/jinja_builtins.h"
#include "runtime/text/jinja_lexer.h"
#include "runtime/text/strings.h"

namespace fathom::text::jinja {
namespace {

using Kind = Expression::Kind;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Block> Run() {
    FATHOM_ASSIGN_OR_RETURN(Block block, ParseBlock({}));
    if (Now().kind != Token::Kind::kEnd) return Unexpected("the end of the template");
    return block;
  }

 private:
  // --- tokens ---
  const Token& Now() const { return tokens_[at_]; }
  const Token& Ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void Next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool IsSign(std::string_view sign) const {
    return Now().kind == Token::Kind::kSign && Now().text == sign;
  }
  bool IsName(std::string_view name) const {
    return Now().kind == Token::Kind::kName && Now().text == name;
  }
  bool TakeSign(std::string_view sign) {
    if (!IsSign(sign)) return false;
    Next();
    return true;
  }
  bool TakeName(std::string_view name) {
    if (!IsName(name)) return false;
    Next();
    return true;
  }
  absl::Status ExpectSign(std::string_view sign) {
    return TakeSign(sign) ? absl::OkStatus() : Unexpected(sign);
  }
  absl::Status ExpectKind(Token::Kind kind, std::string_view what) {
    if (Now().kind != kind) return Unexpected(what);
    Next();
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ExpectAnyName(std::string_view what) {
    if (Now().kind != Token::Kind::kName) return Unexpected(what);
    std::string name = Now().text;
    Next();
    return name;
  }

  // --- errors ---
  std::string Where() const { return Cat("chat template: line ", Now().line); }
  absl::Status Unexpected(std::string_view expected) const {
    std::string found;
    switch (Now().kind) {
      case Token::Kind::kText:
      case Token::Kind::kEnd:
        found = "the end";
        break;
      case Token::Kind::kPrintBegin:
        found = "{{";
        break;
      case Token::Kind::kPrintEnd:
        found = "}}";
        break;
      case Token::Kind::kBlockBegin:
        found = "{%";
        break;
      case Token::Kind::kBlockEnd:
        found = "%}";
        break;
      case Token::Kind::kString:
        found = "a string";
        break;
      case Token::Kind::kInteger:
      case Token::Kind::kFloat:
        found = "a number";
        break;
      case Token::Kind::kName:
      case Token::Kind::kSign:
        found = Now().text;
        break;
    }
    return InputError(Where(), "syntax error", std::string(expected), found);
  }
  absl::Status Unsupported(std::string_view what) const {
    return UnsupportedError(Where(), Cat(what, " is not supported"));
  }

  // Counts nesting of the parser's own recursion while it lives.
  struct Nesting {
    explicit Nesting(int* level) : level(level) { ++*level; }
    ~Nesting() { --*level; }
    int* level;
  };
  absl::Status TooDeep() const {
    return InputError(Where(), "nested too deeply", Cat("at most ", kMaxNesting, " levels"),
                      "more");
  }

  // --- trees ---
  absl::StatusOr<ExpressionPtr> Make(Kind kind, int line, std::vector<ExpressionPtr> children = {},
                                     std::string name = {}) const {
    auto node = std::make_unique<Expression>();
    node->kind = kind;
    node->line = line;
    node->name = std::move(name);
    node->children = std::move(children);
    return Measured(std::move(node));
  }
  absl::StatusOr<ExpressionPtr> Measured(ExpressionPtr node) const {
    int depth = 0;
    for (const ExpressionPtr& child : node->children) {
      if (child != nullptr) depth = std::max(depth, child->depth);
    }
    for (const auto& [name, child] : node->named) depth = std::max(depth, child->depth);
    node->depth = depth + 1;
    if (node->depth > kMaxNesting) return TooDeep();
    return node;
  }
  template <typename... Children>
  static std::vector<ExpressionPtr> Of(Children... children) {
    std::vector<ExpressionPtr> list;
    (list.push_back(std::move(children)), ...);
    return list;
  }
  absl::StatusOr<ExpressionPtr> Literal(Value value) const {
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr node, Make(Kind::kLiteral, Now().line));
    node->value = std::move(value);
    return node;
  }

  // --- statements ---
  // Up to a block tag whose name is one of `ends`, which is left at that name, or to the end of the
  // template.
  absl::StatusOr<Block> ParseBlock(std::initializer_list<std::string_view> ends) {
    const Nesting nesting(&level_);
    if (level_ > kMaxNesting) return TooDeep();
    Block block;
    while (Now().kind != Token::Kind::kEnd) {
      if (Now().kind == Token::Kind::kText) {
        auto statement = MakeStatement(Statement::Kind::kText);
        statement->text = Value::Control(Now().text);
        block.push_back(std::move(statement));
        Next();
      } else if (Now().kind == Token::Kind::kPrintBegin) {
        auto statement = MakeStatement(Statement::Kind::kPrint);
        Next();
        FATHOM_ASSIGN_OR_RETURN(statement->expression, ParseTuple());
        FATHOM_RETURN_IF_ERROR(ExpectKind(Token::Kind::kPrintEnd, "}}"));
        block.push_back(std::move(statement));
      } else {
        Next();  // {%
        if (Now().kind != Token::Kind::kName) return Unexpected("the name of a tag");
        if (std::find(ends.begin(), ends.end(), Now().text) != ends.end()) return block;
        FATHOM_ASSIGN_OR_RETURN(auto statement, ParseStatement());
        block.push_back(std::move(statement));
      }
    }
    if (ends.size() > 0) return Unexpected(Cat("{% ", *(ends.end() - 1), " %}"));
    return block;
  }

  std::unique_ptr<Statement> MakeStatement(Statement::Kind kind) const {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = Now().line;
    return statement;
  }
  absl::Status EndTag() { return ExpectKind(Token::Kind::kBlockEnd, "%}"); }
  absl::StatusOr<Block> BodyUntil(std::string_view end) {
    FATHOM_RETURN_IF_ERROR(EndTag());
    FATHOM_ASSIGN_OR_RETURN(Block body, ParseBlock({end}));
    Next();
    FATHOM_RETURN_IF_ERROR(EndTag());
    return body;
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseStatement() {
    const std::string name = Now().text;
    if (name == "for") return ParseFor();
    if (name == "if") return ParseIf();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "filter") return ParseFilterBlock();
    if (name == "with") return ParseWith();
    if (name == "generation") {
      // Marks what the assistant said, for training; renders as its body.
      auto statement = MakeStatement(Statement::Kind::kScope);
      Next();
      FATHOM_ASSIGN_OR_RETURN(statement->body, BodyUntil("endgeneration"));
      return statement;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) return InputError(Where(), Cat(name, " outside a loop"));
      auto statement =
          MakeStatement(name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue);
      Next();
      FATHOM_RETURN_IF_ERROR(EndTag());
      return statement;
    }
    for (const std::string_view known :
         {"include", "import", "from", "extends", "block", "call", "do", "autoescape", "trans"}) {
      if (name == known) return Unsupported(Cat("{% ", name, " %}"));
    }
    return InputError(Where(), Cat("unexpected tag {% ", name, " %}"));
  }

  absl::Status ParseTargets(std::vector<Statement::Target>* targets) {
    const bool bracket = TakeSign("(");
    do {
      if (!targets->empty() && (IsSign(")") || IsName("in"))) break;
      FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("a variable"));
      targets->push_back({std::move(name), {}});
      if (TakeSign(".")) {
        FATHOM_ASSIGN_OR_RETURN(targets->back().attribute, ExpectAnyName("an attribute"));
      }
    } while (TakeSign(","));
    return bracket ? ExpectSign(")") : absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseFor() {
    auto statement = MakeStatement(Statement::Kind::kFor);
    Next();
    FATHOM_RETURN_IF_ERROR(ParseTargets(&statement->targets));
    if (!TakeName("in")) return Unexpected("in");
    FATHOM_ASSIGN_OR_RETURN(statement->expression, ParseTuple(/*with_condition=*/false));
    if (TakeName("if")) {
      FATHOM_ASSIGN_OR_RETURN(statement->condition, ParseExpression());
    }
    if (IsName("recursive")) return Unsupported("a recursive loop");
    FATHOM_RETURN_IF_ERROR(EndTag());
    const int loop_names = loop_names_;
    ++loops_;
    FATHOM_ASSIGN_OR_RETURN(statement->body, ParseBlock({"else", "endfor"}));
    --loops_;
    statement->uses_loop = loop_names_ != loop_names;
    if (TakeName("else")) {
      FATHOM_RETURN_IF_ERROR(EndTag());
      FATHOM_ASSIGN_OR_RETURN(statement->other, ParseBlock({"endfor"}));
    }
    Next();
    FATHOM_RETURN_IF_ERROR(EndTag());
    return statement;
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseIf() {
    // A chain of elif is a list here and nested ifs in the tree, built from its end.
    std::vector<std::unique_ptr<Statement>> branches;
    Block other;
    while (true) {
      auto branch = MakeStatement(Statement::Kind::kIf);
      Next();
      FATHOM_ASSIGN_OR_RETURN(branch->expression, ParseTuple(/*with_condition=*/true));
      FATHOM_RETURN_IF_ERROR(EndTag());
      FATHOM_ASSIGN_OR_RETURN(branch->body, ParseBlock({"elif", "else", "endif"}));
      branches.push_back(std::move(branch));
      if (branches.size() > kMaxNesting) return TooDeep();
      if (IsName("elif")) continue;
      if (TakeName("else")) {
        FATHOM_RETURN_IF_ERROR(EndTag());
        FATHOM_ASSIGN_OR_RETURN(other, ParseBlock({"endif"}));
      }
      Next();
      FATHOM_RETURN_IF_ERROR(EndTag());
      break;
    }
    while (branches.size() > 1) {
      std::unique_ptr<Statement> last = std::move(branches.back());
      branches.pop_back();
      last->other = std::move(other);
      other = Block();
      other.push_back(std::move(last));
    }
    branches[0]->other = std::move(other);
    return std::move(branches[0]);
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseSet() {
    auto statement = MakeStatement(Statement::Kind::kSet);
    Next();
    FATHOM_RETURN_IF_ERROR(ParseTargets(&statement->targets));
    if (TakeSign("=")) {
      FATHOM_ASSIGN_OR_RETURN(statement->expression, ParseTuple());
      FATHOM_RETURN_IF_ERROR(EndTag());
      return statement;
    }
    statement->kind = Statement::Kind::kSetBlock;
    if (statement->targets.size() != 1) return Unexpected("=");
    FATHOM_ASSIGN_OR_RETURN(statement->expression, ParseFilters(nullptr));
    FATHOM_ASSIGN_OR_RETURN(statement->body, BodyUntil("endset"));
    return statement;
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseMacro() {
    auto statement = MakeStatement(Statement::Kind::kMacro);
    statement->macro = std::make_unique<MacroStatement>();
    Next();
    FATHOM_ASSIGN_OR_RETURN(statement->macro->name, ExpectAnyName("the macro's name"));
    FATHOM_RETURN_IF_ERROR(ExpectSign("("));
    auto& parameters = statement->macro->parameters;
    while (!IsSign(")")) {
      if (!parameters.empty()) FATHOM_RETURN_IF_ERROR(ExpectSign(","));
      FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("a parameter"));
      ExpressionPtr value;
      if (TakeSign("=")) {
        FATHOM_ASSIGN_OR_RETURN(value, ParseExpression());
      }
      parameters.emplace_back(std::move(name), std::move(value));
    }
    Next();
    const int loops = std::exchange(loops_, 0);
    FATHOM_ASSIGN_OR_RETURN(statement->macro->body, BodyUntil("endmacro"));
    loops_ = loops;
    return statement;
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseFilterBlock() {
    auto statement = MakeStatement(Statement::Kind::kFilter);
    Next();
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr first, ParseFilterCall(nullptr));
    FATHOM_ASSIGN_OR_RETURN(statement->expression, ParseFilters(std::move(first)));
    FATHOM_ASSIGN_OR_RETURN(statement->body, BodyUntil("endfilter"));
    return statement;
  }

  absl::StatusOr<std::unique_ptr<Statement>> ParseWith() {
    auto statement = MakeStatement(Statement::Kind::kScope);
    Next();
    while (Now().kind != Token::Kind::kBlockEnd) {
      if (!statement->assigned.empty()) FATHOM_RETURN_IF_ERROR(ExpectSign(","));
      FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("a variable"));
      FATHOM_RETURN_IF_ERROR(ExpectSign("="));
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      statement->assigned.emplace_back(std::move(name), std::move(value));
    }
    FATHOM_ASSIGN_OR_RETURN(statement->body, BodyUntil("endwith"));
    return statement;
  }

  // --- expressions, loosest first ---
  // One expression, or several with commas between, which are a tuple.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool with_condition = true) {
    const int line = Now().line;
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr first, with_condition ? ParseExpression() : ParseOr());
    if (!IsSign(",")) return first;
    std::vector<ExpressionPtr> items = Of(std::move(first));
    while (TakeSign(",")) {
      if (Now().kind == Token::Kind::kBlockEnd || Now().kind == Token::Kind::kPrintEnd ||
          IsSign(")"))
        break;
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr item, with_condition ? ParseExpression() : ParseOr());
      items.push_back(std::move(item));
    }
    return Make(Kind::kTuple, line, std::move(items));
  }

  absl::StatusOr<ExpressionPtr> ParseExpression() {
    const Nesting nesting(&level_);
    if (level_ > kMaxNesting) return TooDeep();
    const int line = Now().line;
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
    while (TakeName("if")) {
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
      ExpressionPtr other;
      if (TakeName("else")) {
        FATHOM_ASSIGN_OR_RETURN(other, ParseExpression());
      }
      FATHOM_ASSIGN_OR_RETURN(value,
                              Make(Kind::kConditional, line,
                                   Of(std::move(value), std::move(condition), std::move(other))));
    }
    return value;
  }

  absl::StatusOr<ExpressionPtr> ParseOr() {
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
    while (IsName("or")) {
      const int line = Now().line;
      Next();
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
      FATHOM_ASSIGN_OR_RETURN(left, Make(Kind::kOr, line, Of(std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExpressionPtr> ParseAnd() {
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
    while (IsName("and")) {
      const int line = Now().line;
      Next();
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
      FATHOM_ASSIGN_OR_RETURN(left, Make(Kind::kAnd, line, Of(std::move(left), std::move(right))));
    }
    return left;
  }

  absl::StatusOr<ExpressionPtr> ParseNot() {
    if (!IsName("not")) return ParseCompare();
    const Nesting nesting(&level_);
    if (level_ > kMaxNesting) return TooDeep();
    const int line = Now().line;
    Next();
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
    return Make(Kind::kNot, line, Of(std::move(operand)));
  }

  absl::StatusOr<ExpressionPtr> ParseCompare() {
    const int line = Now().line;
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
    std::vector<ExpressionPtr> operands;
    std::vector<std::string> operators;
    operands.push_back(std::move(first));
    while (true) {
      std::string op;
      for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (IsSign(sign)) op = sign;
      }
      if (IsName("in")) op = "in";
      if (IsName("not") && Ahead().kind == Token::Kind::kName && Ahead().text == "in") {
        op = "not in";
        Next();
      }
      if (op.empty()) break;
      Next();
      operators.push_back(std::move(op));
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseSum());
      operands.push_back(std::move(operand));
    }
    if (operators.empty()) return std::move(operands[0]);
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr node, Make(Kind::kCompare, line, std::move(operands)));
    node->names = std::move(operators);
    return node;
  }

  using Rule = absl::StatusOr<ExpressionPtr> (Parser::*)();
  absl::StatusOr<ExpressionPtr> ParseBinary(Rule operand,
                                            std::initializer_list<std::string_view> signs) {
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
    while (true) {
      const auto sign =
          std::find_if(signs.begin(), signs.end(), [&](std::string_view s) { return IsSign(s); });
      if (sign == signs.end()) return left;
      const int line = Now().line;
      Next();
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
      FATHOM_ASSIGN_OR_RETURN(left, Make(Kind::kBinary, line, Of(std::move(left), std::move(right)),
                                         std::string(*sign)));
    }
  }
  absl::StatusOr<ExpressionPtr> ParseSum() { return ParseBinary(&Parser::ParseConcat, {"+", "-"}); }
  absl::StatusOr<ExpressionPtr> ParseConcat() { return ParseBinary(&Parser::ParseProduct, {"~"}); }
  absl::StatusOr<ExpressionPtr> ParseProduct() {
    return ParseBinary(&Parser::ParsePower, {"*", "/", "//", "%"});
  }
  absl::StatusOr<ExpressionPtr> ParsePower() {
    return ParseBinary(&Parser::ParseUnaryFiltered, {"**"});
  }
  absl::StatusOr<ExpressionPtr> ParseUnaryFiltered() { return ParseUnary(true); }

  absl::StatusOr<ExpressionPtr> ParseUnary(bool with_filters) {
    const Nesting nesting(&level_);
    if (level_ > kMaxNesting) return TooDeep();
    const int line = Now().line;
    ExpressionPtr node;
    if (TakeSign("-")) {
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseUnary(false));
      FATHOM_ASSIGN_OR_RETURN(node, Make(Kind::kNegate, line, Of(std::move(operand))));
    } else if (TakeSign("+")) {
      FATHOM_ASSIGN_OR_RETURN(node, ParseUnary(false));
    } else {
      FATHOM_ASSIGN_OR_RETURN(node, ParsePrimary());
    }
    FATHOM_ASSIGN_OR_RETURN(node, ParsePostfix(std::move(node)));
    if (!with_filters) return node;
    return ParseFilters(std::move(node));
  }

  absl::StatusOr<ExpressionPtr> ParsePrimary() {
    const Token token = Now();
    switch (token.kind) {
      case Token::Kind::kInteger:
        Next();
        return Literal(Value::Int(token.integer));
      case Token::Kind::kFloat:
        Next();
        return Literal(Value::Float(token.number));
      case Token::Kind::kString: {
        std::string text;
        for (; Now().kind == Token::Kind::kString; Next()) text += Now().text;
        return Literal(Value::Control(text));
      }
      case Token::Kind::kName:
        Next();
        if (token.text == "true" || token.text == "True") return Literal(Value::Bool(true));
        if (token.text == "false" || token.text == "False") return Literal(Value::Bool(false));
        if (token.text == "none" || token.text == "None") return Literal(Value());
        for (const std::string_view word : {"and", "or", "in", "is", "if", "else", "not"}) {
          if (token.text == word) {
            --at_;
            return Unexpected("a value");
          }
        }
        loop_names_ += token.text == "loop";
        return Make(Kind::kName, token.line, {}, token.text);
      default:
        break;
    }
    if (IsSign("(")) return ParseBrackets();
    if (IsSign("[")) return ParseList();
    if (IsSign("{")) return ParseDict();
    return Unexpected("a value");
  }

  absl::StatusOr<ExpressionPtr> ParseBrackets() {
    const int line = Now().line;
    Next();
    if (TakeSign(")")) return Make(Kind::kTuple, line);
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr inner, ParseTuple());
    FATHOM_RETURN_IF_ERROR(ExpectSign(")"));
    return inner;
  }

  absl::StatusOr<ExpressionPtr> ParseList() {
    const int line = Now().line;
    Next();
    std::vector<ExpressionPtr> items;
    while (!IsSign("]")) {
      if (!items.empty()) FATHOM_RETURN_IF_ERROR(ExpectSign(","));
      if (IsSign("]")) break;
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression());
      items.push_back(std::move(item));
    }
    Next();
    return Make(Kind::kList, line, std::move(items));
  }

  absl::StatusOr<ExpressionPtr> ParseDict() {
    const int line = Now().line;
    Next();
    std::vector<ExpressionPtr> items;
    while (!IsSign("}")) {
      if (!items.empty()) FATHOM_RETURN_IF_ERROR(ExpectSign(","));
      if (IsSign("}")) break;
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr key, ParseExpression());
      FATHOM_RETURN_IF_ERROR(ExpectSign(":"));
      FATHOM_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
      items.push_back(std::move(key));
      items.push_back(std::move(value));
    }
    Next();
    return Make(Kind::kDict, line, std::move(items));
  }

  absl::StatusOr<ExpressionPtr> ParsePostfix(ExpressionPtr node) {
    while (true) {
      const int line = Now().line;
      if (TakeSign(".")) {
        if (Now().kind == Token::Kind::kInteger) {
          FATHOM_ASSIGN_OR_RETURN(ExpressionPtr index, Literal(Value::Int(Now().integer)));
          Next();
          FATHOM_ASSIGN_OR_RETURN(node,
                                  Make(Kind::kItem, line, Of(std::move(node), std::move(index))));
          continue;
        }
        FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("an attribute"));
        FATHOM_ASSIGN_OR_RETURN(node,
                                Make(Kind::kAttribute, line, Of(std::move(node)), std::move(name)));
      } else if (TakeSign("[")) {
        FATHOM_ASSIGN_OR_RETURN(node, ParseSubscript(std::move(node), line));
      } else if (IsSign("(")) {
        FATHOM_ASSIGN_OR_RETURN(node, ParseCall(Kind::kCall, std::move(node), {}, line));
      } else {
        return node;
      }
    }
  }

  absl::StatusOr<ExpressionPtr> ParseSubscript(ExpressionPtr object, int line) {
    std::array<ExpressionPtr, 3> parts;
    size_t part = 0;
    bool slice = false;
    while (!IsSign("]")) {
      if (TakeSign(":")) {
        slice = true;
        if (++part > 2) return Unexpected("]");
        continue;
      }
      if (parts[part] != nullptr) return Unexpected("]");
      FATHOM_ASSIGN_OR_RETURN(parts[part], ParseExpression());
    }
    if (!slice && parts[0] == nullptr) return Unexpected("an index");
    Next();
    if (!slice) return Make(Kind::kItem, line, Of(std::move(object), std::move(parts[0])));
    return Make(
        Kind::kSlice, line,
        Of(std::move(object), std::move(parts[0]), std::move(parts[1]), std::move(parts[2])));
  }

  // The arguments in brackets, after `first`.
  absl::StatusOr<ExpressionPtr> ParseCall(Kind kind, ExpressionPtr first, std::string name,
                                          int line) {
    FATHOM_ASSIGN_OR_RETURN(ExpressionPtr node,
                            Make(kind, line, Of(std::move(first)), std::move(name)));
    FATHOM_RETURN_IF_ERROR(ExpectSign("("));
    for (bool more = false; !IsSign(")"); more = true) {
      if (more) FATHOM_RETURN_IF_ERROR(ExpectSign(","));
      if (IsSign(")")) break;
      if (IsSign("*") || IsSign("**")) return Unsupported("unpacking of arguments");
      if (Now().kind == Token::Kind::kName && Ahead().kind == Token::Kind::kSign &&
          Ahead().text == "=") {
        std::string argument = Now().text;
        Next();
        Next();
        FATHOM_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
        node->named.emplace_back(std::move(argument), std::move(value));
      } else {
        if (!node->named.empty()) return Unexpected("a named argument");
        FATHOM_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
        node->children.push_back(std::move(value));
      }
    }
    Next();
    return Measured(std::move(node));
  }

  // `| name` and `is name`, any number of them; a null node stays null when there is none.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr node) {
    while (true) {
      const int line = Now().line;
      if (TakeSign("|")) {
        FATHOM_ASSIGN_OR_RETURN(node, ParseFilterCall(std::move(node)));
      } else if (node != nullptr && TakeName("is")) {
        FATHOM_ASSIGN_OR_RETURN(node, ParseTest(std::move(node), line));
      } else if (node != nullptr && IsSign("(")) {
        FATHOM_ASSIGN_OR_RETURN(node, ParseCall(Kind::kCall, std::move(node), {}, line));
      } else {
        return node;
      }
    }
  }

  absl::StatusOr<ExpressionPtr> ParseFilterCall(ExpressionPtr node) {
    const int line = Now().line;
    FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("the name of a filter"));
    if (!IsFilter(name))
      return UnsupportedError(Cat("chat template: line ", line),
                              Cat("filter ", name, " is not supported"));
    if (IsSign("(")) return ParseCall(Kind::kFilter, std::move(node), std::move(name), line);
    return Make(Kind::kFilter, line, Of(std::move(node)), std::move(name));
  }

  absl::StatusOr<ExpressionPtr> ParseTest(ExpressionPtr node, int line) {
    const bool negated = TakeName("not");
    FATHOM_ASSIGN_OR_RETURN(std::string name, ExpectAnyName("the name of a test"));
    if (!IsTest(name))
      return UnsupportedError(Cat("chat template: line ", line),
                              Cat("test ", name, " is not supported"));
    ExpressionPtr test;
    if (IsSign("(")) {
      FATHOM_ASSIGN_OR_RETURN(test, ParseCall(Kind::kTest, std::move(node), std::move(name), line));
    } else {
      std::vector<ExpressionPtr> children = Of(std::move(node));
      const bool word = Now().kind == Token::Kind::kName;
      const bool keyword = word && (IsName("else") || IsName("or") || IsName("and") ||
                                    IsName("if") || IsName("is") || IsName("in") || IsName("not"));
      if ((word && !keyword) || Now().kind == Token::Kind::kString ||
          Now().kind == Token::Kind::kInteger || Now().kind == Token::Kind::kFloat || IsSign("[") ||
          IsSign("{")) {
        FATHOM_ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
        FATHOM_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
        children.push_back(std::move(argument));
      }
      FATHOM_ASSIGN_OR_RETURN(test, Make(Kind::kTest, line, std::move(children), std::move(name)));
    }
    if (!negated) return test;
    return Make(Kind::kNot, line, Of(std::move(test)));
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  int level_ = 0;
  int loops_ = 0;       // around what is parsed
  int loop_names_ = 0;  // uses of the variable `loop` so far
};

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source) {
  FATHOM_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace fathom::text::jinja
