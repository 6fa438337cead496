// The style of the page comes before those of its views, which may then refine it.
import './style/main.css';
import { render } from 'preact';
import { takeToken } from './api/client';
import { startStream } from './api/stream';
import { App } from './app';
import { startClock } from './lib/clock';
import { startKeys } from './lib/keys';
import { startRouter } from './lib/router';
import { startTheme } from './lib/theme';

takeToken();
startTheme();
startRouter();
startKeys();
startClock();
startStream();
render(<App />, document.getElementById('page') ?? document.body);
