// mysql2, by its promises.

import mysql from 'mysql2/promise';

import { ca, expect, failsWith, finish, inTime, reload, step, target, until } from './report.js';

async function connect({ login = target, port = target.port } = {}) {
  const connection = await mysql.createConnection({
    host: 'localhost',
    port,
    user: login.user,
    password: login.password,
    database: target.database,
    ssl: { ca, verifyIdentity: true },
    maxPreparedStatements: 10,
  });
  // What happens to the connection is the matter of whoever waits for an answer.
  connection.on('error', () => {});
  return connection;
}

async function ask(connection, sql, values) {
  const [rows] = await connection.query({ sql, rowsAsArray: true }, values);
  return rows[0]?.[0];
}

async function connects() {
  const connection = await connect();
  expect((await ask(connection, 'SELECT 42')) === 42, 'another answer');
  await connection.end();
}

async function logsIn(login) {
  const connection = await connect({ login });
  const user = await ask(connection, 'SELECT CURRENT_USER()');
  expect(user.split('@')[0] === login.user, user);
  await connection.end();
}

async function carries(size) {
  const connection = await connect();
  const value = '0123456789abcdef'.repeat(size / 16);
  expect((await ask(connection, 'SELECT ?', [value])) === value, 'another value');
  await connection.end();
}

async function prepares() {
  const connection = await connect();
  for (let n = 0; n < 10; n += 1) {
    const sql = 'SELECT ? * 2, ?';
    const [[row]] = await connection.execute({ sql, rowsAsArray: true }, [n, `word ${n}`]);
    expect(Number(row[0]) === n * 2 && row[1] === `word ${n}`, String(row));
  }
  await connection.end();
}

async function transacts() {
  const connection = await connect();
  await connection.query('CREATE TEMPORARY TABLE numbers (n int) ENGINE=InnoDB');
  for (const [end, left] of [['rollback', 0], ['commit', 1]]) {
    await connection.beginTransaction();
    await connection.query('INSERT INTO numbers VALUES (1)');
    await connection[end]();
    expect((await ask(connection, 'SELECT COUNT(*) FROM numbers')) === left, end);
  }
  await connection.end();
}

async function survivesAnError() {
  const connection = await connect();
  await failsWith(() => connection.query('SELEC 1'), '1064');
  expect((await ask(connection, 'SELECT 7')) === 7, 'another answer');
  await connection.end();
}

// Acts on a connection that sleeps; returns it and its sleep's result.
async function sleeping(act) {
  const connection = await connect();
  const other = await connect();
  const number = await ask(connection, 'SELECT CONNECTION_ID()');
  const result = ask(connection, 'SELECT SLEEP(100)');
  result.catch(() => {});
  const asleep = `SELECT COUNT(*) FROM information_schema.PROCESSLIST
    WHERE ID = ${number} AND INFO LIKE '%SLEEP%'`;
  await until('it sleeps', async () => (await ask(other, asleep)) === 1);
  await other.query(`${act} ${number}`);
  await other.end();
  return { connection, result };
}

async function cancels() {
  const { connection, result } = await sleeping('KILL QUERY');
  // MariaDB calls it an error.
  const answer = await inTime(result.catch((error) => error.errno));
  expect([1, 1317].includes(answer), String(answer));
  expect((await ask(connection, 'SELECT 7')) === 7, 'another answer');
  await connection.end();
}

async function isKilled() {
  const { result } = await sleeping('KILL');
  await failsWith(() => inTime(result), '');
}

async function changesUser({ changed_to: user, password }) {
  const connection = await connect();
  await connection.changeUser({ user, password });
  const changed = await ask(connection, 'SELECT CURRENT_USER()');
  expect(changed.split('@')[0] === user, changed);
  await connection.end();
}

async function resets() {
  const connection = await connect();
  await connection.query("SET @word = 'left'");
  await connection.reset();
  expect((await ask(connection, 'SELECT @word')) === null, 'it is still there');
  await connection.end();
}

async function outlivesAReload() {
  const connection = await connect();
  const number = await ask(connection, 'SELECT CONNECTION_ID()');
  await reload();
  expect((await ask(connection, 'SELECT CONNECTION_ID()')) === number, 'another connection');
  await connects();
  await connection.end();
}

await step('connect', connects);
await step('wrong-name', () =>
  failsWith(() => connect({ port: target.wrong_name_port }), 'certificate', 'altname'));
for (const login of target.logins) {
  await step(`login ${login.plugin}`, () => logsIn(login));
  if (login.cache) await step(`login ${login.plugin} again`, () => logsIn(login));
}
const wrong = { user: target.user, password: 'wrong' };
await step('wrong-password', () => failsWith(() => connect({ login: wrong }), '1045'));
await step('value 1 MB', () => carries(1 << 20));
await step('value 20 MB', () => carries(20 << 20));
await step('prepared', prepares);
await step('transaction', transacts);
await step('error', survivesAnError);
await step('cancel', cancels);
await step('kill', isKilled);
for (const login of target.logins) {
  await step(`change-user ${login.plugin}`, () => changesUser(login));
}
await step('reset', resets);
await step('reload', outlivesAReload);
finish();
