// What the scripts for Node.js share: where to go, and one line of JSON for each step.

import { createInterface } from 'node:readline';
import { readFileSync } from 'node:fs';

export const target = JSON.parse(process.argv[2]);
export const ca = readFileSync(target.ca);

// How long anything may take that should end by itself.
const PATIENCE = 30_000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(step, result, reason = null) {
  console.log(JSON.stringify({ step, result, reason }));
}

// The driver has no call for what a step is about.
export class Unsupported extends Error {}

// Does something, and says how it went.
export async function step(name, act) {
  try {
    await act();
    say(name, 'ok');
  } catch (error) {
    console.error(error);
    const result = error instanceof Unsupported ? 'unsupported' : 'failed';
    say(name, result, String(error).slice(0, 500));
  }
}

export function expect(holds, what) {
  if (!holds) throw new Error(what);
}

// Expects an error that says one of these words.
export async function failsWith(act, ...words) {
  let text;
  try {
    await act();
  } catch (error) {
    text = `${error} ${error.code} ${error.errno}`.toLowerCase();
  }
  expect(text !== undefined, 'it succeeded');
  expect(words.some((word) => text.includes(word)), text);
}

// Looks until something is so.
export async function until(what, isIt) {
  const end = Date.now() + PATIENCE;
  while (!(await isIt())) {
    expect(Date.now() < end, `not in time: ${what}`);
  }
}

// Waits for something that should end by itself.
export function inTime(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('it goes on')), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Has the test replace the certificate and waits until that is done.
export async function reload() {
  say('reload', 'waiting');
  const { value } = await lines.next();
  expect(value === 'done', value);
}

export function finish() {
  process.exit(0);
}
