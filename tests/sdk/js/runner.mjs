// Runs checks on demand: names come as lines on standard input, each gets one
// line of JSON on standard output when it is done. Checks run side by side, each
// once. The argument is the directory of the checks.

import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

import { checks, enter } from "./checks.mjs";
import { close } from "./support.mjs";

// Standard output belongs to the verdicts, whatever a check prints.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

const directory = process.argv[2];
const aside = ["runner.mjs", "checks.mjs", "support.mjs"];
for (const file of readdirSync(directory).sort()) {
  if (file.endsWith(".mjs") && !aside.includes(file)) {
    enter(file.slice(0, -".mjs".length));
    await import(pathToFileURL(join(directory, file)));
  }
}

async function run(name) {
  let error = null;
  try {
    await checks.get(name)();
  } catch (thrown) {
    error = String(thrown?.stack ?? thrown);
  }
  write(JSON.stringify({ check: name, error }) + "\n");
}

const running = [];
for await (const line of createInterface({ input: process.stdin })) {
  running.push(run(line.trim()));
}
await Promise.all(running);
close();
