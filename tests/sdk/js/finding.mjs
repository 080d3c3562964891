// Names, tags and listings.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import {
  client,
  clientOf,
  fails,
  freshApp,
  ids,
  modal,
  onBoth,
  unique,
  withSandbox,
} from "./support.mjs";

check("by_name", [], async () => {
  const app = await freshApp();
  const name = unique("name");
  await onBoth({ app, name }, async (box) => {
    const found = await client.sandboxes.fromName(app.name, name);
    assert.equal(found.sandboxId, box.sandboxId);
  });
  await fails(modal.NotFoundError, () => client.sandboxes.fromName(app.name, name));
});

check("by_the_name_of_an_ended_one", [], async () => {
  const app = await freshApp();
  const name = unique("name");
  const ended = await withSandbox({ app, name }, async (box) => box.sandboxId);
  const found = await client.sandboxes.fromName(app.name, name, { includeTerminated: true });
  assert.equal(found.sandboxId, ended);
});

check("setting_tags_replaces_all", [42], async () => {
  await onBoth({ tags: { a: "1", b: "2" } }, async (box) => {
    assert.deepEqual(await box.getTags(), { a: "1", b: "2" });
    await box.setTags({ c: "3" });
    assert.deepEqual(await box.getTags(), { c: "3" });
    await box.setTags({});
    assert.deepEqual(await box.getTags(), {});
  });
});

check("listing_by_tags", [42], async () => {
  const app = await freshApp();
  await withSandbox({ app, tags: { a: "1", b: "2" } }, async (both) => {
    await withSandbox({ app, tags: { a: "1" }, gpu: "T4" }, async (one) => {
      const listed = (tags) => ids({ appId: app.appId, tags });
      assert.deepEqual(await listed({ a: "1" }), [one.sandboxId, both.sandboxId]);
      assert.deepEqual(await listed({ a: "1", b: "2" }), [both.sandboxId]);
      assert.deepEqual(await listed({ b: "1" }), []);
    });
    assert.deepEqual(await ids({ appId: app.appId }), [both.sandboxId]);
  });
  assert.deepEqual(await ids({ appId: app.appId }), []);
});

check("listing_page_by_page", [43], async () => {
  // A page of that server has two sandboxes.
  const of = clientOf(process.env.SUITE_PAGES_URL);
  const app = await freshApp(of);
  const nested = async (count, created) => {
    if (count === 0) {
      assert.deepEqual(await ids({ appId: app.appId }, of), created);
      return;
    }
    await withSandbox({ of, app }, (box) => nested(count - 1, [box.sandboxId, ...created]));
  };
  await nested(5, []);
});
