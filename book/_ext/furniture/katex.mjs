// Sets formulas: from a file of JSON, [[TeX, whether it is displayed], …], into one with the HTML of each.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [module, source, target] = process.argv.slice(2);
const { default: katex } = await import(pathToFileURL(module).href);
const formulas = JSON.parse(readFileSync(source, "utf-8"));
const set = formulas.map(([tex, displayMode]) => {
  try {
    return katex.renderToString(tex, { displayMode, strict: "error", throwOnError: true });
  } catch (error) {
    console.error(`${tex}: ${error.message}`);
    process.exit(1);
  }
});
writeFileSync(target, JSON.stringify(set));
