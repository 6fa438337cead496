import { render } from 'preact';
import { takeToken } from './api/client';
import { startStream } from './api/stream';
import { App } from './app';
import { startClock } from './lib/clock';
import { startKeys } from './lib/keys';
import { startRouter } from './lib/router';
import { startTheme } from './lib/theme';
import './style/main.css';

takeToken();
startTheme();
startRouter();
startKeys();
startClock();
startStream();
render(<App />, document.getElementById('page') ?? document.body);
