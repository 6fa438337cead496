// Reads one JSON object a line, `{"language": "promql" | "logql" | "traceql", "expr": "…"}`, and answers each with the
// number of places at which the grammar of Grafana's editor found an error. `node parse.cjs FOLDER`, the folder that
// scripts/grammars.sh prints.
"use strict";

const { createRequire } = require("node:module");
const readline = require("node:readline");

const load = createRequire(`${process.argv[2]}/package.json`);
const parsers = {
  promql: load("@prometheus-io/lezer-promql").parser,
  logql: load("@grafana/lezer-logql").parser,
  traceql: load("@grafana/lezer-traceql").parser,
};

function errors(parser, text) {
  let found = 0;
  parser.parse(text).iterate({ enter: (node) => { if (node.type.isError) found += 1; } });
  return found;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { language, expr } = JSON.parse(line);
  console.log(errors(parsers[language], expr));
});
