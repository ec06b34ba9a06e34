/* The agent as PID 1 of the driver VM. */
#ifndef POSTERN_AGENT_VM_H
#define POSTERN_AGENT_VM_H

/* Sets the VM up and serves it; powers it off when that ends. */
_Noreturn void vm_main(void);

#endif
