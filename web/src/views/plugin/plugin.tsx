import { Empty } from '../../parts/Empty';

export default function Plugin() {
  return <Empty title="Plugin" />;
}
