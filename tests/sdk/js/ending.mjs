// How sandboxes end, and how that is asked.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import { client, onBoth, withSandbox } from "./support.mjs";

check("running_has_no_code", [39], async () => {
  await onBoth({}, async (box) => assert.equal(await box.poll(), null));
});

check("a_timeout_is_124", [36, 41], async () => {
  await onBoth({ timeoutMs: 1000 }, async (box) => {
    assert.equal(await box.wait(), 124);
    assert.equal(await box.poll(), 124);
  });
});

check("terminating_is_137", [36, 40], async () => {
  await onBoth({}, async (box) => {
    assert.equal(await box.terminate({ wait: true }), 137);
    const again = await client.sandboxes.fromId(box.sandboxId);
    assert.equal(await again.poll(), 137);
    await again.terminate();
    assert.equal(await again.wait(), 137);
  });
});

check("waiting_longer_than_one_question", [37, 39], async () => {
  await withSandbox({ command: ["sh", "-c", "sleep 11; exit 5"] }, async (box) => {
    assert.equal(await box.wait(), 5);
  });
});

check("idle_sandboxes_end", [], async () => {
  await withSandbox({ idleTimeoutMs: 2000 }, async (box) => {
    assert.equal(await box.wait(), 124);
  });
});

check("unknown_ids", [34], async () => {
  for (const unknown of ["sb-" + "0".repeat(22), "sb-01JB0000000000000000000000"]) {
    const ask = async () => (await client.sandboxes.fromId(unknown)).poll();
    await assert.rejects(ask, (error) => {
      return error.message.includes("NOT_FOUND") && error.message.includes(unknown);
    });
  }
});
