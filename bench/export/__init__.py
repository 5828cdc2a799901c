"""A run in the formats of TensorBoard, MLflow and Optuna: written once, whole or not at all."""
