import { Empty } from '../../parts/Empty';

export default function Plugins() {
  return <Empty title="Plugins" />;
}
