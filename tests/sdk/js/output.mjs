// What the command of a sandbox writes, and what it reads.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import { client, MEBI, onBoth, withSandbox } from "./support.mjs";

check("both_streams", [52, 59], async () => {
  await onBoth({ command: ["sh", "-c", "echo out; echo err >&2"] }, async (box) => {
    assert.equal(await box.stdout.readText(), "out\n");
    assert.equal(await box.stderr.readText(), "err\n");
  });
});

check("nothing_written_is_nothing_read", [52], async () => {
  await onBoth({ command: ["true"] }, async (box) => {
    assert.equal(await box.stdout.readText(), "");
    assert.equal(await box.stderr.readText(), "");
  });
});

check("after_the_end_from_the_start", [52], async () => {
  await onBoth({ command: ["sh", "-c", "echo first; echo second"] }, async (box) => {
    await box.wait();
    const again = await client.sandboxes.fromId(box.sandboxId);
    assert.equal(await again.stdout.readText(), "first\nsecond\n");
  });
});

check("five_megabytes", [], async () => {
  const command = ["sh", "-c", "head -c 5242880 /dev/zero | tr '\\0' x"];
  await onBoth({ command }, async (box) => {
    const text = await box.stdout.readText();
    assert.equal(text.length, 5 * MEBI);
    assert.ok(text === "x".repeat(5 * MEBI));
  });
});

check("standard_input", [], async () => {
  await withSandbox({ command: ["cat"] }, async (box) => {
    await box.stdin.writeText("a line\n");
    await box.stdin.writeText("another\n");
    await box.stdin.close();
    assert.equal(await box.stdout.readText(), "a line\nanother\n");
    assert.equal(await box.wait(), 0);
  });
});
