// Commands in a running sandbox.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import {
  client,
  digest,
  fails,
  MEBI,
  modal,
  noise,
  onBoth,
  output,
  withSandbox,
} from "./support.mjs";

check("output_and_code", [], async () => {
  await onBoth({}, async (box) => {
    const process = await box.exec(["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert.equal(await process.stdout.readText(), "out\n");
    assert.equal(await process.stderr.readText(), "err\n");
    assert.equal(await process.wait(), 7);
  });
});

check("a_signal_is_128_and_its_number", [47], async () => {
  await withSandbox({}, async (box) => {
    assert.equal(await (await box.exec(["sh", "-c", "kill -KILL $$"])).wait(), 137);
  });
});

check("the_working_directory", [], async () => {
  await withSandbox({}, async (box) => {
    assert.equal(await output(box, ["pwd"], { workdir: "/usr" }), "/usr\n");
  });
});

check("the_environment", [], async () => {
  const secrets = [await client.secrets.fromObject({ A: "secret", B: "secret" })];
  await onBoth({ env: { A: "box", C: "box", D: "box" } }, async (box) => {
    const command = ["sh", "-c", 'echo "$A $B $C $D"'];
    const said = await output(box, command, { secrets, env: { A: "exec", C: "exec" } });
    assert.equal(said, "exec secret exec box\n");
    assert.equal(await output(box, command), "box  box box\n");
  });
});

check("standard_input", [], async () => {
  await onBoth({}, async (box) => {
    const process = await box.exec(["cat"]);
    await process.stdin.writeText("grün €\n");
    await process.stdin.writeText("more\n");
    await process.stdin.close();
    assert.equal(await process.stdout.readText(), "grün €\nmore\n");
    assert.equal(await process.wait(), 0);
  });
});

check("five_megabytes_in", [], async () => {
  const data = noise(5 * MEBI);
  await withSandbox({}, async (box) => {
    const process = await box.exec(["sha256sum"], { mode: "binary" });
    for (let at = 0; at < data.length; at += MEBI) {
      await process.stdin.writeBytes(data.subarray(at, at + MEBI));
    }
    await process.stdin.close();
    const said = Buffer.from(await process.stdout.readBytes()).toString();
    assert.equal(said.split(" ")[0], digest(data));
  });
});

check("five_megabytes_out", [], async () => {
  await withSandbox({}, async (box) => {
    const text = "head -c 5242880 /dev/zero; head -c 5242880 /dev/zero >&2";
    const process = await box.exec(["sh", "-c", text], { mode: "binary" });
    const [out, err] = await Promise.all([
      process.stdout.readBytes(),
      process.stderr.readBytes(),
    ]);
    for (const bytes of [out, err]) assert.ok(Buffer.alloc(5 * MEBI).equals(bytes));
    assert.equal(await process.wait(), 0);
  });
});

check("output_after_the_end", [52], async () => {
  await withSandbox({}, async (box) => {
    const process = await box.exec(["echo", "still there"]);
    assert.equal(await process.wait(), 0);
    assert.equal(await process.stdout.readText(), "still there\n");
  });
});

check("output_that_nobody_wants", [], async () => {
  await withSandbox({}, async (box) => {
    const text = "head -c 5242880 /dev/zero; echo err >&2";
    const process = await box.exec(["sh", "-c", text], { stdout: "ignore" });
    assert.equal(await process.wait(), 0);
    assert.equal(await process.stdout.readText(), "");
    assert.equal(await process.stderr.readText(), "err\n");
  });
});

check("after_the_end_of_the_sandbox", [], async () => {
  await onBoth({}, async (box) => {
    await box.terminate({ wait: true });
    const ended = await client.sandboxes.fromId(box.sandboxId);
    await fails(Error, async () => (await ended.exec(["true"])).wait());
  });
});

check("many_at_once", [], async () => {
  await withSandbox({}, async (box) => {
    const numbers = Array.from({ length: 20 }, (_, number) => number);
    // Each waits for all.
    const wait = "while [ $(ls | wc -l) -lt 20 ]; do sleep 0.1; done";
    const said = await Promise.all(
      numbers.map((number) =>
        output(box, ["sh", "-c", `touch ${number}; ${wait}; echo ${number}`]),
      ),
    );
    assert.deepEqual(said, numbers.map((number) => `${number}\n`));
  });
});

check("a_terminal", [], async () => {
  await withSandbox({}, async (box) => {
    const said = await output(box, ["sh", "-c", "test -t 0 && test -t 1 && tty"], { pty: true });
    assert.match(said, /^\/dev\/pts\//);
  });
});

check("from_another_handle", [], async () => {
  await onBoth({}, async (box) => {
    const again = await client.sandboxes.fromId(box.sandboxId);
    assert.equal(await output(again, ["echo", "hi"]), "hi\n");
  });
});

check("a_relative_working_directory", [], async () => {
  await withSandbox({}, async (box) => {
    const run = async () => (await box.exec(["pwd"], { workdir: "usr" })).wait();
    await fails(modal.InvalidError, run);
  });
});
