// Creating sandboxes: backends, commands, environment, names.

import assert from "node:assert/strict";

import { check } from "./checks.mjs";
import {
  app,
  client,
  clientOf,
  fails,
  freshApp,
  image,
  isV1,
  modal,
  onBoth,
  output,
  unique,
  withSandbox,
} from "./support.mjs";

check("without_gpu_on_the_newer_backend", [26, 65], async () => {
  await withSandbox({ command: ["true"] }, async (box) => {
    assert.ok(box.sandboxId.startsWith("sb-") && !isV1(box.sandboxId));
    assert.equal(await box.wait(), 0);
  });
});

check("with_gpu_on_the_older_backend", [26, 33], async () => {
  await withSandbox({ command: ["true"], gpu: "A100:2" }, async (box) => {
    assert.ok(isV1(box.sandboxId), box.sandboxId);
    assert.equal(await box.wait(), 0);
  });
});

check("resources_and_placement_are_accepted", [28, 29], async () => {
  const params = { cpu: 0.5, memoryMiB: 2048, regions: ["us-east-1"], cloud: "aws" };
  await onBoth({ command: ["true"], ...params }, async (box) => {
    assert.equal(await box.wait(), 0);
  });
});

check("the_environment", [31, 32], async () => {
  const secrets = [await client.secrets.fromObject({ A: "secret", B: "secret" })];
  const command = ["sh", "-c", 'echo "$A $B $C"'];
  await onBoth({ command, secrets, env: { A: "env", C: "env" } }, async (box) => {
    assert.equal(await box.stdout.readText(), "env secret env\n");
  });
});

check("the_working_directory", [], async () => {
  await onBoth({ command: ["pwd"], workdir: "/usr" }, async (box) => {
    assert.equal(await box.stdout.readText(), "/usr\n");
  });
});

check("exit_codes", [], async () => {
  await onBoth({ command: ["sh", "-c", "exit 3"] }, async (box) => {
    assert.equal(await box.wait(), 3);
    assert.equal(await box.poll(), 3);
  });
});

check("without_a_command_it_stays", [], async () => {
  const box = await client.sandboxes.create(await app(), image());
  try {
    assert.equal(await box.poll(), null);
    assert.equal(await output(box, ["echo", "here"]), "here\n");
  } finally {
    await box.terminate();
  }
});

check("a_name_is_taken_once_per_app", [], async () => {
  const ours = await freshApp();
  const name = unique("name");
  await onBoth({ app: ours, name }, async () => {
    const again = () => client.sandboxes.create(ours, image(), { name });
    const error = await fails(modal.AlreadyExistsError, again);
    assert.ok(error.message.includes(name), error.message);
  });
  // Free again after the end.
  await withSandbox({ app: ours, name }, async () => {});
});

check("an_unknown_image", [], async () => {
  const unknown = () => client.images.fromId("im-00000000000000000000000000");
  await fails(modal.NotFoundError, unknown);
});

check("an_image_with_a_login", [21], async () => {
  const login = await client.secrets.fromObject({
    REGISTRY_USERNAME: "user",
    REGISTRY_PASSWORD: "pass",
  });
  const base = client.images.fromRegistry("registry.example/team/image:1", login);
  await withSandbox({ image: base, command: ["true"] }, async (box) => {
    assert.ok(base.imageId.startsWith("im-"));
    assert.equal(await box.wait(), 0);
  });
});

check("an_app_that_does_not_exist", [], async () => {
  const name = unique("no-app");
  const error = await fails(modal.NotFoundError, () => client.apps.fromName(name));
  assert.ok(error.message.includes(name), error.message);
});

check("an_app_is_created_once", [], async () => {
  const name = unique("app");
  const first = await client.apps.fromName(name, { createIfMissing: true });
  assert.match(first.appId, /^ap-[0-9A-Za-z]{22}$/);
  assert.equal((await client.apps.fromName(name)).appId, first.appId);
});

check("a_wrong_token", [], async () => {
  const stranger = clientOf(undefined, { tokenId: "ak-suite", tokenSecret: "as-wrong" });
  await assert.rejects(stranger.apps.fromName("suite"), /token refused/);
});

check("a_full_server", [], async () => {
  const of = clientOf(process.env.SUITE_FULL_URL);
  const own = await freshApp(of);
  const create = () => of.sandboxes.create(own, image(of), { command: ["sleep", "600"] });
  const error = await fails(Error, create);
  assert.match(error.message, /at most 0 sandboxes/);
});

check("short_lived_tokens_are_renewed", [14, 65], async () => {
  const of = clientOf(process.env.SUITE_SHORT_TOKENS_URL);
  await withSandbox({ of, app: await freshApp(of) }, async (box) => {
    // The token of the first call lives eight seconds.
    const text = await output(box, ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 2; done"]);
    assert.equal(text, "1\n2\n3\n4\n5\n");
    assert.equal(await box.poll(), null);
    assert.equal(await output(box, ["echo", "later"]), "later\n");
  });
});
