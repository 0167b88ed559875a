# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Renders the templates beside this file, and many single expressions, with Jinja 2 as `transformers` sets it up.

    pip install jinja2
    python3 make_template_goldens.py          writes templates.json

templates.json: {"chats": [{"template", "input", "text" or "error": true}], "snippets": [...the same with "source"]}.
"""
import datetime
import json
import os

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

HERE = os.path.dirname(os.path.abspath(__file__))
NOW = 1_700_000_000  # 14 Nov 2023, 22:13:20 UTC


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)
    return env


def render(source, given):
    variables = {"messages": given.get("messages", []), "tools": given.get("tools"), "documents": None,
                 "add_generation_prompt": given.get("add_generation_prompt", True),
                 "bos_token": "<s>", "eos_token": "</s>", **given.get("variables", {})}
    try:
        return {"text": environment().from_string(source).render(**variables)}
    except Exception:  # whatever it is, the template must not render
        return {"error": True}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


TOOL = {"type": "function", "function": {
    "name": "weather", "description": "Says \"hot\" or <cold> & more — é 日本", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}},
                                         "opts": {"type": "object", "properties": {"x": {}}}}, "required": ["city"]},
    "return": {"type": "string"}}}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo", "n": 1.0, "deep": [True, None, -3]}}}
TEXT_CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}}
CHATS = [
    [message("user", "Hi")],
    [message("system", "  Be brief.  "), message("user", " What is 2+2? \n")],
    [message("system", "S"), message("user", "a"), message("assistant", "<think>\nwhy\n</think>\n\nb"), message("user", "c <|im_end|> </s>")],
    [message("user", "a"), message("assistant", "b"), message("user", "c"), message("assistant", "<think>x</think>d")],
    [message("user", "é 日本 😀"), message("assistant", "ok\n"), message("note", "n"), message("user", "more"), message("stop", "s"), message("user", "z")],
    [message("user", "w?"), message("assistant", None, tool_calls=[TEXT_CALL, TEXT_CALL]), message("tool", "{\"t\": 3}", tool_call_id="abcdefghi"),
     message("tool", "cold", tool_call_id="abcdefghi"), message("assistant", "It is 3."), message("user", "thanks")],
    [message("user", "w?"), message("assistant", "", tool_calls=[CALL]), message("tool", "{\"t\": 3}", tool_call_id="abcdefghi"), message("assistant", "3")],
    [message("user", "a"), message("user", "b")],
    [message("assistant", "first"), message("user", "b")],
    [message("user", [{"type": "text", "text": "part"}])],
    [],
]
VARIABLES = [{}, {"enable_thinking": False}, {"builtin_tools": ["weather", "code"], "date_string": "1 Jan 2000"},
             {"tools_in_user_message": False, "custom_tools": [TOOL]}]

SNIPPETS = r"""
{{ 1 + 2 * 3 - 4 / 2 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ 7.5 // 2 }}|{{ -7.5 % 2 }}
{{ 1.0 }}|{{ 0.1 }}|{{ 1e16 }}|{{ 1e15 }}|{{ 1.5e-7 }}|{{ 123456789.123 }}|{{ 1e100 }}|{{ 0.0001 }}|{{ 0.00001 }}|{{ 1_000 }}|{{ 3 / 1 }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'x'] }}|{{ 'a' 'b' "c" }}|{{ 'a' + 'b' }}|{{ 'ab' * 3 }}|{{ [1] * 2 }}|{{ [1] + [2] }}|{{ (1, 2) + (3,) }}
{{ true and 0 }}|{{ '' or 'x' }}|{{ not '' }}|{{ 1 if false else 2 }}|{{ 1 if false }}|{{ none }}|{{ true }}|{{ [none, true, 1.0, 'q'] }}|{{ {'a': 1, 2: 'b'} }}
{{ 1 < 2 < 3 }}|{{ 3 > 2 > 2 }}|{{ 1 == 1.0 }}|{{ '1' == 1 }}|{{ 'a' < 'b' }}|{{ [1, 2] < [1, 3] }}|{{ 1 in [1, 2] }}|{{ 'x' not in 'axe' }}|{{ 'k' in {'k': 1} }}|{{ true == 1 }}
{{ 'hello'[0] }}|{{ 'hello'[-1] }}|{{ 'hello'[1:3] }}|{{ 'hello'[::-1] }}|{{ 'hello'[:-1] }}|{{ 'hello'[10:] }}|{{ 'héllo日'[1:] }}|{{ [1,2,3][1:] }}|{{ [1,2,3][::2] }}|{{ [1,2,3][-2:] }}|{{ [1,2,3][5:1:-1] }}|{{ 'abc'[::-2] }}|{{ [1,2,3,4,5][3:0:-1] }}
{{ x }}|{{ x is defined }}|{{ x is undefined }}|{{ x | default('d') }}|{{ '' | default('d') }}|{{ '' | default('d', true) }}|{{ none | d('z', boolean=true) }}|{{ x or 'o' }}
{{ messages.x }}|{{ {'a': {'b': 2}}.a.b }}|{{ {'a': 1}['a'] }}|{{ {'a': 1}.get('z', 'no') }}|{{ {'a': 1}.get('z') }}|{{ {'items': 1}['items'] }}|{{ [10, 20].1 }}
{{ x.y }}
{{ none.y }}|{{ 'a'.nothing }}|{{ [1].nothing is defined }}|{{ [1][7] is defined }}
{{ x + 1 }}
{{ 1 + 'a' }}
{{ [1] + 'a' }}
{{ 'a' < 1 }}
{{ 1 / 0 }}
{{ none | length }}
{{ '  a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'xxaxx'.rstrip('x') }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a\nb\r\nc'.splitlines() }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x', 'c')) }}
{{ 'abab'.replace('a', 'xy') }}|{{ 'abab'.replace('a', '', 1) }}|{{ 'abc'.find('c') }}|{{ 'abc'.find('z') }}|{{ 'abca'.rfind('a') }}|{{ 'banana'.count('an') }}|{{ '-'.join(['a', 'b']) }}|{{ 'aBc'.upper() }}|{{ 'aBc'.lower() }}|{{ 'aBc dEf'.title() }}|{{ 'aBc'.capitalize() }}|{{ 'ß'.upper() }}|{{ '12'.isdigit() }}|{{ ''.isdigit() }}|{{ 'ab'.isalpha() }}|{{ 'a1'.isalnum() }}|{{ ' '.isspace() }}|{{ 'AB'.isupper() }}|{{ 'ab1'.islower() }}
{{ 'preX'.removeprefix('pre') }}|{{ 'Xpost'.removesuffix('post') }}|{{ '日本語'.find('語') }}|{{ 'abc'.replace('', '-') }}
{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'aBc' | upper }}|{{ 'aBc' | lower }}|{{ 'aBC dEF-gh' | title }}|{{ 'aBC' | capitalize }}|{{ 'abc' | replace('b', 'x') }}|{{ 'aaa' | replace('a', 'b', 2) }}|{{ 'abc' | length }}|{{ [1,2] | count }}|{{ 'abc' | reverse }}|{{ [1,2,3] | reverse | list }}|{{ 'abc' | list }}|{{ {'a': 1} | list }}
{{ [1,2,3] | first }}|{{ [1,2,3] | last }}|{{ [] | first }}|{{ ['a','b'] | join }}|{{ [1,2] | join('-') }}|{{ [{'n': 1}, {'n': 2}] | join(',', attribute='n') }}|{{ {'a': 1, 'b': 2} | items | list }}|{{ [3,1,2] | sort }}|{{ ['b','A','c'] | sort }}|{{ ['b','A','c'] | sort(case_sensitive=true) }}|{{ [3,1,2] | sort(reverse=true) }}|{{ [{'n': 2}, {'n': 1}] | sort(attribute='n') }}
{{ [1,2,2,1] | unique | list }}|{{ ['a','A'] | unique | list }}|{{ [3,1] | min }}|{{ [3,1] | max }}|{{ [1,2] | sum }}|{{ [1,2.5] | sum }}|{{ [{'n': 1}] | sum(attribute='n') }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ {'b': 1, 'a': 2} | dictsort(by='value', reverse=true) }}
{{ -3 | abs }}|{{ (-3) | abs }}|{{ '42' | int }}|{{ 'x' | int }}|{{ 'x' | int(7) }}|{{ 3.9 | int }}|{{ '3.9' | int }}|{{ '2.5' | float }}|{{ 'q' | float }}|{{ 2.567 | round(1) }}|{{ 2.5 | round }}|{{ 2.1 | round(0, 'ceil') }}|{{ 2.9 | round(method='floor') }}|{{ 42 | string }}|{{ 3 | float }}
{{ [1,2,3,4] | select('odd') | list }}|{{ [1,2,3] | reject('odd') | list }}|{{ [0,1,''] | select | list }}|{{ [1,5] | select('gt', 2) | list }}|{{ [{'a': 1}, {'b': 2}] | selectattr('a') | list }}|{{ [{'a': 1}, {'a': 2}] | selectattr('a', 'equalto', 2) | list }}|{{ [{'a': 1}, {'a': 2}] | rejectattr('a', '==', 2) | list }}|{{ [{'a': 1}, {}] | selectattr('a', 'defined') | list }}|{{ [{'a': {'b': 5}}] | map(attribute='a.b') | list }}|{{ ['a','b'] | map('upper') | list }}|{{ [{}] | map(attribute='x', default='?') | list }}
{{ 1 is number }}|{{ 1 is integer }}|{{ 1.0 is float }}|{{ true is boolean }}|{{ true is integer }}|{{ 'a' is string }}|{{ [] is sequence }}|{{ {} is mapping }}|{{ 'a' is iterable }}|{{ 1 is iterable }}|{{ none is none }}|{{ 3 is odd }}|{{ 4 is even }}|{{ 9 is divisibleby 3 }}|{{ 9 is divisibleby(2) }}|{{ 'a' is lower }}|{{ 'A' is upper }}|{{ 1 is eq 1 }}|{{ 1 is ne 1 }}|{{ 1 is lt 2 }}|{{ 1 is in [1] }}|{{ true is true }}|{{ 1 is true }}|{{ 1 is not none }}|{{ not 1 is none }}|{{ range is callable }}
{{ 'a\nb' | indent }}|{{ 'a\n\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('>>') }}
{{ {'b': [1, 2.0, none, true], 'a': 'é"\\\n\t😀<&>'} | tojson }}|{{ [] | tojson }}|{{ {} | tojson }}|{{ [1] | tojson(indent=2) }}|{{ {'a': {'b': []}} | tojson(indent=4) }}|{{ 'é😀' | tojson(ensure_ascii=true) }}|{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}|{{ [1, 2] | tojson(separators=(',', ':')) }}|{{ '\x01\x7f' | tojson }}
{{ x | tojson }}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}|{% for k in {'x': 1} %}{{ k }}{% endfor %}|{% for c in 'ab' %}{{ c }}.{% endfor %}|{% for i in [] %}{% else %}none{% endfor %}|{% for i in x %}{% else %}undef{% endfor %}
{% for i in range(10) if i % 3 == 0 %}{{ i }}{{ loop.last }},{% endfor %}|{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in none %}{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{{ loop.depth }}{% endfor %}{% endfor %}
{% set a = 1 %}{% for i in [1] %}{% set a = 2 %}{{ a }}{% endfor %}{{ a }}|{% set ns = namespace(v=1) %}{% for i in [1, 2] %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}|{% if true %}{% set b = 5 %}{% endif %}{{ b }}|{% set p, q = 1, 2 %}{{ p }}{{ q }}
{% set t %}  x{{ 1 }} {% endset %}[{{ t }}]|{% set u | upper | trim %} abc {% endset %}[{{ u }}]
{% set d = {} %}{% set d.x = 1 %}
{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 2) }}|{{ m(1, c=3) }}|{{ m() }}|{{ m(b=2, a=1) }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% set o = 1 %}{% macro m() %}{{ o }}{{ i is defined }}{% endmacro %}{% for i in [1] %}{{ m() }}{% endfor %}
{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{% endif %}{{ n }}{% endmacro %}{{ f(4) }}
{{ range(5) | list }}|{{ range(1, 4) | list }}|{{ range(5, 0, -2) | list }}|{{ range(0) | list }}|{{ dict(a=1, b=2) }}|{{ dict([('k', 1)]) }}
{{ range(1, 2, 0) }}
{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %%') }}
{{ raise_exception('no') }}
{{ foo() }}
{{ ''.__class__.__mro__ }}
{{ messages.append(1) }}
{{ {'a': 1}.update({'b': 2}) }}
{{ 'a' | nofilter }}
{{ 'a' is notest }}
{% include 'x' %}
{% nonsense %}
{% if true %}
{{ 'unclosed }}
{{ (1, 2 }}
{{ }}
{% for %}{% endfor %}
{% endif %}
{% set = 1 %}
{{ 1 2 }}
{{ a.b.c | d }}
{# comment #}a{#- strip -#}  b  {# x #}
c
"""
BLOCKS = ["  {% if true %}\n  a\n  {% endif %}\nb", "a  {%- if true -%}  b  {%- endif -%}  c", "{% if true %}\n\nx{% endif %}\n\n",
          "  {%+ if true %}a{% endif +%}\nb", "a\n   {{ 1 }}\n   {#- c #}\n   {# d #}\nb", "{{- 1 -}}  \n {{ 2 }}\n", "x\r\ny\rz\n\n",
          "{% raw %}{{ a }}{% b %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  y", "\n{% set a = 1 %}\n{{ a }}\n", "a{% set b = 2 %} {% set c = 3 %}\n {{ b }}",
          "{{ '\\x41\\u00e9\\n\\'\\q\\\\' }}", "{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif 0 %}b{% else %}c{% endif %}",
          "{{ [1, 2,] }}{{ {'a': 1,} }}{{ (1,) }}{{ () }}", "{%if true%}x{%endif%}{{1}}", "{{ 'a' if 1 else 'b' if 0 else 'c' }}", "a\n{%- if true %}\n b\n{%- endif %}\nc",
          "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% filter upper | replace('A', 'x') %}abc{% endfilter %}", "{{ not true or true }}{{ not (true and false) }}{{ 1 + 1 == 2 and 'y' }}",
          "{{ -1 ** 2 }}{{ - 2 | abs }}{{ 'a' ~ 'b' | upper }}{{ 2 * 3 ~ 'x' }}", "{{ 1 + 2 ~ 3 }}", "{{ {'a': {'b': {'c': 1}}}['a'].b['c'] }}", "{{ {1: 'a', none: 'b', true: 'c'}[none] }}",
          "{{ \"it's\" }}{{ ['it\\'s', 'a\"b', '\\n\\t\\x01'] }}", "{{ [[1, (2, 3)], {'k': ['v']}] }}", "{{ 1.0 == 1 and 1 in [1.0] }}", "{% for x in [1,2,3] %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}"]


def main():
    os.environ["TZ"] = "UTC"
    chats = []
    for name in sorted(os.listdir(os.path.join(HERE, "templates"))):
        with open(os.path.join(HERE, "templates", name), encoding="utf-8", newline="") as file:
            source = file.read()
        for index, messages in enumerate(CHATS):
            for tools in (None, [TOOL, TOOL]) if index in (0, 2, 6) else (None,):
                for variables in VARIABLES if index in (1, 6) else ({},):
                    given = {"messages": messages, "tools": tools, "variables": variables, "add_generation_prompt": index % 2 == 0}
                    chats.append({"template": name, "input": given, **render(source, given)})
    snippets = [{"source": source, **render(source, {"messages": CHATS[0]})} for source in SNIPPETS.strip("\n").split("\n") + BLOCKS]
    with open(os.path.join(HERE, "templates.json"), "w", encoding="utf-8") as file:
        json.dump({"now": NOW, "chats": chats, "snippets": snippets}, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")
    print(len(chats), "chats,", len(snippets), "snippets,", sum("error" in each for each in chats + snippets), "errors")


if __name__ == "__main__":
    main()
