// Snapshots of a sandbox's files, and sandboxes that start with them.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import { client, directory, MEBI, noise, onBoth, output, withSandbox } from "./support.mjs";

check("a_new_sandbox_from_it", [], async () => {
  await onBoth({}, async (box) => {
    const make = "mkdir dir; echo kept > dir/file; chmod 640 dir/file; ln -s dir/file link";
    await output(box, ["sh", "-c", make]);
    const image = await box.snapshotFilesystem();
    assert.ok(image.imageId.startsWith("im-"));
    await withSandbox({ image }, async (restored) => {
      assert.equal(await output(restored, ["cat", "link"]), "kept\n");
      assert.equal(await output(restored, ["stat", "-c", "%a", "dir/file"]), "640\n");
    });
  });
});

check("by_the_id_of_its_image", [58], async () => {
  await withSandbox({}, async (box) => {
    await output(box, ["sh", "-c", "echo kept > file"]);
    const { imageId } = await box.snapshotFilesystem({ ttlMs: null });
    const image = await client.images.fromId(imageId);
    await withSandbox({ image, command: ["cat", "file"] }, async (restored) => {
      assert.equal(await restored.stdout.readText(), "kept\n");
    });
  });
});

check("five_megabytes", [], async () => {
  const data = noise(5 * MEBI, 4);
  await withSandbox({}, async (box) => {
    await box.filesystem.writeBytes(data, (await directory(box)) + "/data");
    const image = await box.snapshotFilesystem();
    await withSandbox({ image }, async (restored) => {
      const path = (await directory(restored)) + "/data";
      assert.ok(data.equals(await restored.filesystem.readBytes(path)));
    });
  });
});
