'use strict';

const fs = require('fs');
const { serve, InvalidInput, ServiceError } = require('./spanglass.js');

const LEVELS = ['debug', 'info', 'warn', 'error'];

async function invoke({ level = 'info', message, fields = {} }, ctx) {
  if (typeof message !== 'string') throw new InvalidInput('`message` must be a text');
  if (!LEVELS.includes(level)) throw new InvalidInput(`\`level\` must be one of ${LEVELS.join(', ')}`);
  if (LEVELS.indexOf(level) < LEVELS.indexOf(ctx.config.level)) return { written: false, level };

  const line = await ctx.span('format', () => format({ level, message, fields }, ctx));
  if (ctx.config.output === 'log') ctx.log[level](line);
  else fs.appendFileSync(ctx.config.output, `${line}\n`);
  ctx.metric('lines', 1, { level });
  return { written: true, level, line };
}

async function format(entry, ctx) {
  try {
    return (await ctx.services.call('core-utils', entry, { action: 'format' })).line;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    // Where core-utils cannot be called a line is better plain than lost.
    ctx.log.warn('core-utils did not answer', { kind: error.kind, message: error.message });
    return plain(entry);
  }
}

function plain({ level, message, fields }) {
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
  return `${level} ${message.trim().replace(/\s+/g, ' ')}${pairs.join('')}`;
}

function health() {
  return true;
}

function on_start(ctx) {
  if (!LEVELS.includes(ctx.config.level)) throw new Error(`config.level must be one of ${LEVELS.join(', ')}`);
}

serve({ invoke }, { on_start, health });
