"""Sound bounds on what a perturbation can do: Lipschitz constants, per-input certificates, the robustness gap."""
