// The real program, started for tests with a data folder of its own.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const START_MS = 60_000;
const STOP_MS = 20_000;
const TARGET = process.env.CARGO_TARGET_DIR ?? resolve(import.meta.dirname, '../../../target');

export function binary(): string {
  const asked = process.env.SPANGLASS_BIN;
  const found = asked ? [resolve(asked)] : ['release', 'debug'].map((profile) => join(TARGET, profile, 'spanglass'));
  const path = found.find((candidate) => existsSync(candidate));
  if (!path) throw new Error(`no program to test at ${found.join(' or ')}: build it, or set SPANGLASS_BIN`);
  return path;
}

export interface Options {
  /** `serve` unless said otherwise. */
  command?: 'serve' | 'demo';
  args?: string[];
  /** Plugins by name; each a folder's files by their paths. */
  plugins?: Record<string, Record<string, string>>;
  token?: string;
  /** `host:port`; else a free port is picked. */
  listen?: string;
  /** A folder that outlives this server; else one that is removed with it. */
  folder?: string;
  /** `spanglass.yaml`. */
  config?: string;
}

export class Runner {
  private constructor(
    readonly url: string,
    readonly token: string | null,
    private readonly process: ChildProcess,
    private readonly folder: string | null,
    private readonly said: string[],
  ) {}

  static async start(options: Options = {}): Promise<Runner> {
    const own = options.folder === undefined;
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'spanglass-page-')));
    const { command = 'serve', listen = '127.0.0.1:0', token } = options;
    const args = [command, '--json', '--listen', listen, '--data-dir', join(folder, 'data')];
    if (command === 'demo') args.push('--no-open');
    if (token) {
      await writeFile(join(folder, 'tokens'), `${token}\n`, { mode: 0o600 });
      args.push('--token-file', join(folder, 'tokens'));
    }
    if (options.config) {
      await writeFile(join(folder, 'spanglass.yaml'), options.config);
      args.push('--config', join(folder, 'spanglass.yaml'));
    }
    if (options.plugins) {
      await writePlugins(join(folder, 'plugins'), options.plugins);
      args.push('--plugins', join(folder, 'plugins'));
    }
    args.push(...(options.args ?? []));

    const child = spawn(binary(), args, { env: quietEnvironment(), cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const said: string[] = [];
    const keep = (line: string) => {
      said.push(line);
      if (said.length > 100) said.shift();
    };
    createInterface({ input: child.stderr }).on('line', keep);
    const lines = createInterface({ input: child.stdout });
    const url = await new Promise<string>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${command} said nothing in ${START_MS} ms: ${said.join('\n')}`)), START_MS);
      const failed = (why: string) => {
        clearTimeout(late);
        reject(new Error(`${command} ${why}: ${said.join('\n')}`));
      };
      child.once('error', (error) => failed(String(error)));
      child.once('exit', (code) => failed(`ended with ${code}`));
      // Whoever does not read on stops the server when the pipe is full.
      lines.on('line', (line) => {
        if (!line.startsWith('{"event":"listening"')) return keep(line);
        clearTimeout(late);
        child.removeAllListeners('exit');
        resolve((JSON.parse(line) as { url: string }).url);
      });
    }).catch(async (error: unknown) => {
      child.kill('SIGKILL');
      if (own) await rm(folder, { recursive: true, force: true });
      throw error;
    });
    return new Runner(url, token ?? null, child, own ? folder : null, said);
  }

  /** What it said last, for the message of a test that failed. */
  get log(): string {
    return this.said.slice(-20).join('\n');
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise<void>((done) => this.process.once('exit', () => done()));
      this.process.kill(signal);
      const late = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(late);
    }
    if (this.folder) await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** A request past the page. */
  async ask(method: string, path: string, body?: unknown): Promise<{ status: number; headers: Headers; body: any }> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (body !== undefined) headers['content-type'] = 'application/json';
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(this.url + path, { method, headers, ...sent, signal: AbortSignal.timeout(30_000) });
    const text = await response.text();
    let read: unknown = text;
    try {
      read = JSON.parse(text);
    } catch {
      // Not everything is JSON.
    }
    return { status: response.status, headers: response.headers, body: read };
  }

  async get(path: string): Promise<any> {
    const answer = await this.ask('GET', path);
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** A call, with the answer whatever it is. */
  invoke(plugin: string, input: unknown = {}) {
    return this.ask('POST', `/v1/plugins/${plugin}/invoke`, { input });
  }

  /** Asks until the answer is there; what takes longer than `within` is a failure. */
  async until<T>(what: string, look: () => Promise<T | undefined | null | false>, within = 30_000): Promise<T> {
    const end = Date.now() + within;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (Date.now() > end) throw new Error(`not within ${within} ms: ${what}\n${this.log}`);
      await new Promise((next) => setTimeout(next, 100));
    }
  }
}

/** What a developer has set for other servers must not change this one. */
function quietEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(OTEL_|SPANGLASS_)/.test(name) && name !== 'NODE_OPTIONS');
  return Object.fromEntries(kept);
}

async function writePlugins(root: string, plugins: Record<string, Record<string, string>>): Promise<void> {
  for (const [name, files] of Object.entries(plugins)) {
    for (const [path, text] of Object.entries(files)) {
      const file = join(root, name, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
    }
  }
}

/** A plugin of one function: `body` is what stands in it. */
export function python(name: string, body: string, manifest = ''): Record<string, Record<string, string>> {
  const lines = body.trim().split('\n').map((line) => `    ${line}`).join('\n');
  return {
    [name]: {
      'manifest.yaml': `name: ${name}\nversion: 1.0.0\nruntime: python\n${manifest}`,
      'executor.py': `def invoke(input_data, ctx):\n${lines}\n`,
    },
  };
}
