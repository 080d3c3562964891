// What checks have in common.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

// The packages are in the target directory, not next to this file.
export const modal = createRequire(process.env.SUITE_PACKAGES + "/")("modal");

export const IMAGE = "python:3.11-slim";
export const MEBI = 1024 * 1024;

// How long something may take that is waited for, in milliseconds. Nothing takes
// a tenth of it on an idle machine.
const BOUND = 60_000;

/** The client of almost all checks; server and account are in the environment. */
export const client = new modal.ModalClient({ logLevel: "error" });

const clients = [client];

/** A client of another server, or with other parameters. */
export function clientOf(url, params = {}) {
  const ours = process.env.MODAL_SERVER_URL;
  // The SDK takes the server from the environment, when a client is made.
  process.env.MODAL_SERVER_URL = url ?? ours;
  const other = new modal.ModalClient({ logLevel: "error", ...params });
  process.env.MODAL_SERVER_URL = ours;
  clients.push(other);
  return other;
}

export function close() {
  for (const open of clients) open.close();
}

/** A name that nobody else uses. */
export function unique(prefix) {
  return `${prefix}-${randomUUID().slice(0, 13)}`;
}

/** An app without any sandboxes. */
export function freshApp(of = client) {
  return of.apps.fromName(unique("app"), { createIfMissing: true });
}

const shared = client.apps.fromName("suite", { createIfMissing: true });
shared.catch(() => {});

/** The app of all sandboxes whose app does not matter. */
export function app() {
  return shared;
}

/** A new image: one that was built is not asked for again. */
export function image(of = client) {
  return of.images.fromRegistry(IMAGE);
}

/**
 * A sandbox for as long as an action takes; it sleeps unless a command is given.
 */
export async function withSandbox(params, action) {
  const { of = client, app: own, image: base, ...rest } = params;
  const box = await of.sandboxes.create(own ?? (await app()), base ?? image(of), {
    command: ["sleep", "600"],
    ...rest,
  });
  try {
    return await action(box);
  } finally {
    await box.terminate().catch((error) => {
      if (!(error instanceof modal.ClientClosedError)) throw error;
    });
  }
}

/** Once per backend: what asks for a GPU is on the older one. */
export async function onBoth(params, action) {
  for (const gpu of ["T4", undefined]) {
    await withSandbox({ gpu, ...params }, async (box) => {
      assert.equal(isV1(box.sandboxId), gpu !== undefined, box.sandboxId);
      await action(box);
    });
  }
}

/** Whether an id is one of the older backend. */
export function isV1(id) {
  return /^sb-[0-9A-Za-z]{22}$/.test(id);
}

/** The error that an action must end with. */
export async function fails(expected, action) {
  const kinds = Array.isArray(expected) ? expected : [expected];
  let result;
  try {
    result = await action();
  } catch (error) {
    if (kinds.some((kind) => error instanceof kind)) return error;
    throw error;
  }
  assert.fail(`no ${kinds.map((kind) => kind.name)}, but ${result}`);
}

/** Waits for a condition. */
export async function eventually(what, condition) {
  const giveUpAt = Date.now() + BOUND;
  while (!(await condition())) {
    assert.ok(Date.now() < giveUpAt, `not in time: ${what}`);
    await sleep(50);
  }
}

/** What a command writes; it must succeed. */
export async function output(box, command, params = {}) {
  const process = await box.exec(command, params);
  const [text, problem, code] = await Promise.all([
    process.stdout.readText(),
    process.stderr.readText(),
    process.wait(),
  ]);
  assert.equal(code, 0, `${command}: ${problem}`);
  return text;
}

/** The sandbox's directory. */
export async function directory(box) {
  return (await output(box, ["pwd"])).trim();
}

/** Bytes that are not text, always the same for a seed. */
export function noise(size, seed = 1) {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let at = 0; at < size; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

/** As `sha256sum` writes it. */
export function digest(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** All sandboxes of a listing, by id. */
export async function ids(params, of = client) {
  const found = [];
  for await (const box of of.sandboxes.experimentalList(params)) {
    found.push(box.sandboxId);
  }
  return found;
}
