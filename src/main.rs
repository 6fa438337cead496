use spanglass::sandbox::supervisor;

fn main() {
    supervisor::main_if_asked();
}
