// Writes src/api/types.ts from the server's OpenAPI document; with --check it only says whether it is current.
import { readFileSync, writeFileSync } from 'node:fs';
import openapi, { astToString } from 'openapi-typescript';

const source = new URL(process.env.SPANGLASS_OPENAPI ?? '../../src/api/openapi.json', import.meta.url);
const target = new URL('../src/api/types.ts', import.meta.url);

const text = `// Made by \`npm run types\` from src/api/openapi.json. Do not edit.\n\n${astToString(await openapi(source))}`;
const current = readFileSync(target, { encoding: 'utf8', flag: 'a+' });
if (!process.argv.includes('--check')) {
  writeFileSync(target, text);
} else if (current !== text) {
  console.error('src/api/types.ts is not what src/api/openapi.json says: run `npm run types`');
  process.exit(1);
}
