// Files of a sandbox.

import assert from "node:assert/strict";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { check } from "./checks.mjs";
import {
  digest,
  directory,
  fails,
  MEBI,
  modal,
  noise,
  onBoth,
  output,
  withSandbox,
} from "./support.mjs";

async function withDirectory(action) {
  const local = await mkdtemp(join(tmpdir(), "suite-"));
  try {
    await action(local);
  } finally {
    await rm(local, { recursive: true });
  }
}

check("text", [], async () => {
  await onBoth({}, async (box) => {
    const path = (await directory(box)) + "/text";
    await box.filesystem.writeText("grün €\n", path);
    assert.equal(await box.filesystem.readText(path), "grün €\n");
    assert.equal(await output(box, ["cat", path]), "grün €\n");
  });
});

check("five_megabytes_up_and_down", [53], async () => {
  const data = noise(5 * MEBI, 2);
  await withDirectory(async (local) => {
    await withSandbox({}, async (box) => {
      const remote = (await directory(box)) + "/new/directories/file";
      await writeFile(join(local, "up"), data);
      await box.filesystem.copyFromLocal(join(local, "up"), remote);
      assert.equal((await output(box, ["sha256sum", remote])).split(" ")[0], digest(data));
      await box.filesystem.copyToLocal(remote, join(local, "also/down"));
      assert.ok(data.equals(await readFile(join(local, "also/down"))));
    });
  });
});

check("five_megabytes_of_bytes", [53], async () => {
  const data = noise(5 * MEBI, 3);
  await withSandbox({}, async (box) => {
    const path = (await directory(box)) + "/data";
    await box.filesystem.writeBytes(data, path);
    assert.ok(data.equals(await box.filesystem.readBytes(path)));
  });
});

check("empty_files", [53], async () => {
  await withSandbox({}, async (box) => {
    const path = (await directory(box)) + "/empty";
    await box.filesystem.writeBytes(new Uint8Array(), path);
    assert.equal((await box.filesystem.readBytes(path)).length, 0);
  });
});

check("what_is_not_there", [55], async () => {
  await withDirectory(async (local) => {
    await withSandbox({}, async (box) => {
      const remote = (await directory(box)) + "/nothing";
      const missing = modal.SandboxFilesystemNotFoundError;
      await fails(missing, () => box.filesystem.readText(remote));
      await fails(missing, () => box.filesystem.copyToLocal(remote, join(local, "down")));
      await fails(missing, () => box.filesystem.stat(remote));
      await fails(missing, () => box.filesystem.remove(remote));
      assert.deepEqual(await readdir(local), []);
    });
  });
});

check("kinds_of_files", [55], async () => {
  await withSandbox({}, async (box) => {
    const ours = await directory(box);
    await box.filesystem.writeText("x", ours + "/file");
    const directoryError = modal.SandboxFilesystemIsADirectoryError;
    await fails(directoryError, () => box.filesystem.readBytes(ours));
    const noDirectory = modal.SandboxFilesystemNotADirectoryError;
    await fails(noDirectory, () => box.filesystem.writeText("x", ours + "/file/below"));
    const refused = modal.SandboxFilesystemPermissionError;
    await fails(refused, () => box.filesystem.readText("/etc/passwd"));
  });
});

check("listing_and_looking", [], async () => {
  await withSandbox({}, async (box) => {
    const ours = (await directory(box)) + "/listed";
    await output(box, ["sh", "-c", "mkdir -p listed/dir; printf 123 > listed/b; ln -s b listed/a"]);
    const entries = await box.filesystem.listFiles(ours);
    assert.deepEqual(
      entries.map(({ name, type, path }) => [name, type, path]),
      [
        ["a", "symlink", `${ours}/a`],
        ["b", "file", `${ours}/b`],
        ["dir", "directory", `${ours}/dir`],
      ],
    );
    assert.equal(entries[0].symlinkTarget, "b");
    assert.equal((await box.filesystem.stat(`${ours}/b`)).size, 3);
  });
});

check("making_and_removing_directories", [], async () => {
  await withSandbox({}, async (box) => {
    const ours = await directory(box);
    await box.filesystem.makeDirectory(ours + "/a/b");
    await box.filesystem.makeDirectory(ours + "/a/b");
    const exists = modal.SandboxFilesystemPathAlreadyExistsError;
    await fails(exists, () => box.filesystem.makeDirectory(ours + "/a", { createParents: false }));
    const notEmpty = modal.SandboxFilesystemDirectoryNotEmptyError;
    await fails(notEmpty, () => box.filesystem.remove(ours + "/a"));
    await box.filesystem.remove(ours + "/a", { recursive: true });
    await fails(modal.SandboxFilesystemNotFoundError, () => box.filesystem.stat(ours + "/a"));
  });
});

check("watching", [], async () => {
  await withSandbox({}, async (box) => {
    const ours = await directory(box);
    let event;
    const watching = (async () => {
      for await (const next of box.filesystem.watch(ours, { filter: ["Create"] })) {
        event = next;
        break;
      }
    })();
    // Nobody says when the watch has begun.
    for (let number = 0; event === undefined; number++) {
      await output(box, ["touch", `file-${number}`]);
    }
    await watching;
    assert.equal(event.eventType, "Create");
    assert.ok(event.paths[0].startsWith(`${ours}/file-`), event.paths[0]);
  });
});
