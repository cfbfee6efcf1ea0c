// pg, written in JavaScript alone.

import pg from 'pg';

import {
  Unsupported, ca, expect, failsWith, finish, inTime, reload, step, target, until,
} from './report.js';

async function connect({ login = target, port = target.port } = {}) {
  const connection = new pg.Client({
    host: 'localhost',
    port,
    user: login.user,
    password: login.password,
    database: target.database,
    ssl: { ca },
    enableChannelBinding: target.channel_binding !== 'disable',
  });
  // What happens to the connection is the matter of whoever waits for an answer.
  connection.on('error', () => {});
  await connection.connect();
  return connection;
}

async function ask(connection, text, values) {
  const { rows } = await connection.query({ text, values, rowMode: 'array' });
  return rows[0]?.[0];
}

async function connects() {
  const connection = await connect();
  expect((await ask(connection, 'SELECT 42')) === 42, 'another answer');
  await connection.end();
}

async function logsIn(login) {
  const connection = await connect({ login });
  const user = await ask(connection, 'SELECT CURRENT_USER');
  expect(user === login.user, user);
  await connection.end();
}

async function carries(size) {
  const connection = await connect();
  const value = '0123456789abcdef'.repeat(size / 16);
  expect((await ask(connection, 'SELECT $1::text', [value])) === value, 'another value');
  await connection.end();
}

async function prepares() {
  const connection = await connect();
  for (let n = 0; n < 10; n += 1) {
    const statement = { name: 'it', text: 'SELECT $1::int * 2, $2::text', rowMode: 'array' };
    const { rows: [row] } = await connection.query({ ...statement, values: [n, `word ${n}`] });
    expect(row[0] === n * 2 && row[1] === `word ${n}`, String(row));
  }
  await connection.end();
}

async function transacts() {
  const connection = await connect();
  await connection.query('CREATE TEMPORARY TABLE numbers (n int)');
  for (const [end, left] of [['ROLLBACK', '0'], ['COMMIT', '1']]) {
    await connection.query('BEGIN');
    await connection.query('INSERT INTO numbers VALUES (1)');
    await connection.query(end);
    expect((await ask(connection, 'SELECT COUNT(*) FROM numbers')) === left, end);
  }
  await connection.end();
}

async function survivesAnError() {
  const connection = await connect();
  await failsWith(() => connection.query('SELEC 1'), '42601');
  expect((await ask(connection, 'SELECT 7')) === 7, 'another answer');
  await connection.end();
}

async function isKilled() {
  const connection = await connect();
  const other = await connect();
  const number = await ask(connection, 'SELECT pg_backend_pid()');
  const result = ask(connection, 'SELECT pg_sleep(100)');
  result.catch(() => {});
  const asleep = `SELECT COUNT(*) FROM pg_stat_activity
    WHERE pid = ${number} AND wait_event = 'PgSleep'`;
  await until('it sleeps', async () => (await ask(other, asleep)) === '1');
  await other.query(`SELECT pg_terminate_backend(${number})`);
  await other.end();
  await failsWith(() => inTime(result), '');
}

async function isNotified() {
  const listener = await connect();
  const teller = await connect();
  const channel = `news_${target.port}`;
  await listener.query(`LISTEN ${channel}`);
  const news = new Promise((resolve) => {
    listener.once('notification', ({ payload }) => resolve(payload));
  });
  await teller.query(`NOTIFY ${channel}, 'hello'`);
  expect((await inTime(news)) === 'hello', 'other news');
  await teller.end();
  await listener.end();
}

async function outlivesAReload() {
  const connection = await connect();
  const number = await ask(connection, 'SELECT pg_backend_pid()');
  await reload();
  expect((await ask(connection, 'SELECT pg_backend_pid()')) === number, 'another connection');
  await connects();
  await connection.end();
}

await step('connect', connects);
await step('wrong-name', () =>
  failsWith(() => connect({ port: target.wrong_name_port }), 'certificate', 'altname'));
for (const login of target.logins) {
  await step(`login ${login.plugin}`, () => logsIn(login));
}
const wrong = { user: target.user, password: 'wrong' };
await step('wrong-password', () => failsWith(() => connect({ login: wrong }), '28p01'));
await step('value 1 MB', () => carries(1 << 20));
await step('value 20 MB', () => carries(20 << 20));
await step('prepared', prepares);
await step('transaction', transacts);
await step('error', survivesAnError);
await step('cancel', () => {
  throw new Unsupported('pg has no request to cancel that goes by TLS');
});
await step('kill', isKilled);
await step('copy', () => {
  throw new Unsupported('pg has no COPY without a further package');
});
await step('notify', isNotified);
await step('reload', outlivesAReload);
finish();
